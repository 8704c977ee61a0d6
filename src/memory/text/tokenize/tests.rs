use super::*;

fn date(unix_seconds: i64) -> String {
    let mut date = String::new();
    push_date(unix_seconds, &mut date);
    date
}

fn all(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    words(text, |word| found.push(word.to_owned()));
    found
}

#[test]
fn words_of_any_script_are_words() {
    assert_eq!(all("Don't  PANIC, café 42nd_street!"), ["don", "t", "panic", "cafe", "42nd", "street"]);
    assert_eq!(all("日本語 кошка ＡＢＣ ﬁn"), ["日", "本", "語", "кошка", "abc", "fin"]);
    assert_eq!(all("a\0b\u{202e}c🦀d"), ["a", "b", "c", "d"]);
    assert_eq!(all(&format!("{} {}", "x".repeat(101), "y".repeat(100))), ["y".repeat(100)]);
    assert_eq!(all(""), [""; 0]);
}

#[test]
fn stop_words_go_and_endings_too() {
    let mut found = Vec::new();
    terms("The cats were running to where Ann's кошки are", |_, stem| found.push(stem.to_owned()));
    assert_eq!(found, ["cat", "run", "ann", "кошки"]);
    assert!(!is_stop_word("t d"));
}

#[test]
fn dates_are_written_out() {
    assert_eq!(date(1_683_554_160), "Monday, 8 May 2023, 1:56 pm");
    assert_eq!(date(0), "Thursday, 1 January 1970, 12:00 am");
    assert_eq!(date(-1), "Wednesday, 31 December 1969, 11:59 pm");
    assert_eq!(date(i64::MAX), "");
    let mut rng = fastrand::Rng::with_seed(3);
    for seconds in (0..2000).map(|_| rng.i64(-377_705_116_800..253_402_300_800)) {
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let hour = (at.hour() + 11) % 12 + 1;
        let half = if at.hour() < 12 { "am" } else { "pm" };
        let (weekday, day, month, year) = (at.weekday(), at.day(), at.month(), at.year());
        let written = format!("{weekday}, {day} {month} {year}, {hour}:{:02} {half}", at.minute());
        assert_eq!((date(seconds), written.len() <= LONGEST_DATE), (written, true));
    }
}

#[test]
fn numbers_are_written_as_they_are_read() {
    for number in (0..12_000).chain([99_999, 100_000, 4_294_967_295]) {
        let mut written = String::new();
        push_number(number, &mut written);
        assert_eq!(written, number.to_string());
    }
}

#[test]
fn tokens_are_rather_over_than_underestimated() {
    assert_eq!(tokens(""), 0);
    assert_eq!(tokens("Hello, world!"), 4);
    assert_eq!(tokens("internationalisation"), 3);
    assert_eq!(tokens("日本語"), 3);
    assert_eq!(tokens(" \n"), 1);
}

#[test]
fn the_gist_of_a_long_text_is_its_ends() {
    assert_eq!(gist("short"), "short");
    let long = format!("start {} end", "é".repeat(5000));
    let gist = gist(&long);
    assert!(gist.starts_with("start ") && gist.ends_with(" end") && gist.len() <= 2050, "{}", gist.len());
}
