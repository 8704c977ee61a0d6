//! P4: requests that two parsers could read differently. Each is refused, or is exactly one request; never more, and
//! after a refusal the connection is not reused.

use concierge_testkit::{
    ms,
    smuggling::{
        FRAMINGS, HIDDEN,
        Verdict::{self, One, Refused, Served},
        odd_requests,
    },
};

use super::setup::{Stage, many};

struct Said {
    answers: usize,
    refused: bool,
    text: String,
}

async fn say(stage: &Stage, bytes: String) -> Said {
    let text = String::from_utf8_lossy(&stage.client.raw(bytes, ms(400)).await).into_owned();
    Said {
        // The text of a refusal may contain an HTTP version.
        answers: text.split("\r\n").filter(|line| line.starts_with("HTTP/1.")).count(),
        refused: text.is_empty()
            || ["400", "404", "413", "415", "431", "501", "505"]
                .iter()
                .any(|code| text.get(9..12) == Some(code)),
        text,
    }
}

fn check(name: &str, verdict: Verdict, said: &Said, reached: usize) -> Option<String> {
    let good = match verdict {
        Refused => said.refused && said.answers <= 1 && reached == 0,
        One => said.answers <= 1 && reached <= 1,
        Served => said.answers == 1 && reached == 1,
    };
    let line =
        || format!("{name:?}: must be {verdict:?}, {reached} reached the provider, said: {}", said.text);
    (!good).then(line)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_case_of_the_corpus_is_two_requests() {
    let framed = FRAMINGS.iter().map(|(lines, verdict)| {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
        (*lines, format!("{head}\r\n{lines}\r\n\r\n0\r\n\r\n{HIDDEN}"), *verdict)
    });
    let cases: Vec<_> = framed.chain(odd_requests()).collect();
    assert!(cases.len() >= 60);
    // One provider for each case, so that their calls cannot be mixed up.
    let wrong = many(cases.len(), 8, move |n| {
        let (name, bytes, verdict) = cases[n].clone();
        async move {
            let stage = Stage::single(|c| c).await;
            let said = say(&stage, bytes).await;
            check(name, verdict, &said, stage.calls().0)
        }
    });
    let wrong: Vec<String> = wrong.await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
