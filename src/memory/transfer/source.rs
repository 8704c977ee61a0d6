//! A file of lines that is read twice: once to see that it is whole, once to take it in.
//!
//! Standard input is copied to a file without a name first, for it cannot be read twice. No line may be longer than
//! [`LONGEST`].

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek},
    path::Path,
};

use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

use super::{
    STANDARD,
    line::{FORMAT, TransferEnd, TransferLine, VERSION, checksum},
};

/// Bytes of one line: more than a request may have.
const LONGEST: u64 = 64 << 20;

/// The lines of an import, read twice.
pub(super) struct TransferSource {
    file: File,
    name: String,
}

impl TransferSource {
    /// Opens `file`, or takes in all of standard input.
    pub(crate) fn open(file: &Path) -> Result<Self, String> {
        let name = file.display().to_string();
        let opened = if file.as_os_str() == STANDARD { spooled() } else { File::open(file) };
        let file = opened.map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { file, name })
    }

    /// Reads all lines and hands over those of users; whole and unchanged, or an error that names the line at fault.
    pub(crate) async fn read(
        &mut self,
        bar: &ProgressBar,
        mut each: impl AsyncFnMut(TransferLine) -> Result<(), String>,
    ) -> Result<TransferEnd, String> {
        bar.set_length(self.file.metadata().map_or(0, |found| found.len()));
        self.file.rewind().map_err(|error| format!("{}: {error}", self.name))?;
        let from = BufReader::new(&self.file);
        let mut lines = TransferLines { from, name: &self.name, number: 0, hash: Sha256::new() };
        let mut seen = TransferEnd::default();
        loop {
            seen.sha256 = checksum(&lines.hash);
            let Some(text) = lines.next()? else { return Err(lines.cut_off()) };
            bar.inc(text.len() as u64 + 1);
            match lines.parse(&text)? {
                TransferLine::Head(_) => {}
                TransferLine::End(end) if end == seen => return lines.ended().map(|()| end),
                TransferLine::End(_) => {
                    return Err(lines.wrong("does not fit what is before it: the file was changed"));
                }
                line @ (TransferLine::Memory(..) | TransferLine::Context(..)) => {
                    seen.memories += u64::from(matches!(line, TransferLine::Memory(..)));
                    seen.contexts += u64::from(matches!(line, TransferLine::Context(..)));
                    each(line).await?;
                }
            }
        }
    }
}

fn head_is_known(head: &super::line::TransferHead) -> Result<(), &'static str> {
    match (head.format == FORMAT, head.version) {
        (true, 1..=VERSION) => Ok(()),
        (true, _) => Err("says that a newer version of Concierge has written this"),
        _ => Err("is not the head of an export"),
    }
}

/// The lines of an export, with what was seen of them.
struct TransferLines<'n, R> {
    from: R,
    name: &'n str,
    number: u64,
    hash: Sha256,
}

impl<R: BufRead> TransferLines<'_, R> {
    /// The next line without its end.
    fn next(&mut self) -> Result<Option<String>, String> {
        let mut bytes = Vec::new();
        let read = self.from.by_ref().take(LONGEST).read_until(b'\n', &mut bytes);
        if read.map_err(|error| self.wrong(&format!("cannot be read: {error}")))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.hash.update(&bytes);
        if bytes.pop() != Some(b'\n') {
            return Err(self.wrong("is cut off"));
        }
        String::from_utf8(bytes).map(Some).map_err(|_| self.wrong("is no text"))
    }

    /// What the present line says; the first must be the head, and no other.
    fn parse(&self, text: &str) -> Result<TransferLine, String> {
        let line = TransferLine::parse(text).map_err(|what| self.wrong(&what))?;
        match (&line, self.number) {
            (TransferLine::Head(head), 1) => head_is_known(head).map_err(|what| self.wrong(what))?,
            (_, 1) => return Err(self.wrong("is not the head of an export")),
            (TransferLine::Head(_), _) => return Err(self.wrong("is a second head")),
            _ => {}
        }
        Ok(line)
    }

    /// Nothing may come after the end.
    fn ended(&mut self) -> Result<(), String> {
        self.next()?.map_or(Ok(()), |_| Err(self.wrong("comes after the end")))
    }

    fn cut_off(&mut self) -> String {
        self.number += 1;
        self.wrong("is missing: the export was cut off")
    }

    fn wrong(&self, what: &str) -> String {
        format!("{}: line {} {what}", self.name, self.number)
    }
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
