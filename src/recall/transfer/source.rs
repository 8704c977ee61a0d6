//! A file of lines that is read twice: once to see that it is whole, once to take it in.
//!
//! Standard input is copied to a file without a name first, for it cannot be read twice. No line may be longer than
//! [`LONGEST`].

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek},
    path::Path,
};

use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

use super::{
    STANDARD,
    line::{End, FORMAT, Line, VERSION},
};

/// Bytes of one line: more than a request may have.
const LONGEST: u64 = 64 << 20;

/// See the module.
pub(super) struct Source {
    file: File,
    name: String,
}

impl Source {
    /// Opens `file`, or takes in all of standard input.
    pub fn open(file: &Path) -> Result<Self, String> {
        let name = file.display().to_string();
        let opened = if file.as_os_str() == STANDARD { spooled() } else { File::open(file) };
        let file = opened.map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { file, name })
    }

    /// Reads all lines and hands over those of users; whole and unchanged, or an error that names the line at fault.
    pub async fn read(
        &mut self,
        bar: &ProgressBar,
        mut each: impl AsyncFnMut(Line) -> Result<(), String>,
    ) -> Result<End, String> {
        let name = self.name.clone();
        let wrong = |number: u64, what: &str| format!("{name}: line {number} {what}");
        let size = self.file.metadata().map_or(0, |found| found.len());
        bar.set_length(size);
        self.file.rewind().map_err(|error| format!("{name}: {error}"))?;
        let mut lines = Lines { from: BufReader::new(&self.file), number: 0, hash: Sha256::new() };
        let (mut memories, mut contexts) = (0, 0);
        loop {
            let before = hex(&lines.hash);
            let Some(text) = lines.next().map_err(|what| wrong(lines.number, &what))? else {
                return Err(wrong(lines.number + 1, "is missing: the export was cut off"));
            };
            bar.inc(text.len() as u64 + 1);
            let number = lines.number;
            let line = Line::parse(&text).map_err(|what| wrong(number, &what))?;
            match line {
                Line::Head(head) if number == 1 => head_is_known(&head).map_err(|what| wrong(1, what))?,
                _ if number == 1 => return Err(wrong(1, "is not the head of an export")),
                Line::Head(_) => return Err(wrong(number, "is a second head")),
                Line::End(end) => {
                    if (end.memories, end.contexts, &end.sha256) != (memories, contexts, &before) {
                        return Err(wrong(number, "does not fit what is before it: the file was changed"));
                    }
                    let after = lines.next().map_err(|what| wrong(lines.number, &what))?;
                    return after.map_or(Ok(end), |_| Err(wrong(number + 1, "comes after the end")));
                }
                line => {
                    memories += u64::from(matches!(line, Line::Memory(..)));
                    contexts += u64::from(matches!(line, Line::Context(..)));
                    each(line).await?;
                }
            }
        }
    }
}

fn head_is_known(head: &super::line::Head) -> Result<(), &'static str> {
    match (head.format == FORMAT, head.version) {
        (true, 1..=VERSION) => Ok(()),
        (true, _) => Err("says that a newer version of Concierge has written this"),
        _ => Err("is not the head of an export"),
    }
}

struct Lines<R> {
    from: R,
    number: u64,
    hash: Sha256,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its end.
    fn next(&mut self) -> Result<Option<String>, String> {
        let mut bytes = Vec::new();
        let read = self.from.by_ref().take(LONGEST).read_until(b'\n', &mut bytes);
        if read.map_err(|error| format!("cannot be read: {error}"))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.hash.update(&bytes);
        if bytes.pop() != Some(b'\n') {
            return Err("is cut off".to_owned());
        }
        String::from_utf8(bytes).map(Some).map_err(|_| "is no text".to_owned())
    }
}

fn hex(hash: &Sha256) -> String {
    let mut text = String::new();
    for byte in hash.clone().finalize() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Standard input, in a file that is gone when it is closed.
fn spooled() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("concierge-import-{:016x}", fastrand::u64(..)));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path)?;
    fs::remove_file(&path)?;
    io::copy(&mut io::stdin(), &mut file)?;
    Ok(file)
}
