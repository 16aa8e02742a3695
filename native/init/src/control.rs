//! The control channel: lines of JSON over a serial line, a virtio port or a socket that process 1 never waits for.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, fcntl_setfl, openat};
use rustix::io::{Errno, read, write};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use serde::Deserialize;

use crate::console::pause_ms;
use crate::failure::{Failure, OrFail, Outcome};
use crate::files::names_in;
use crate::json;
use crate::place::{ControlAt, Place};
use crate::sys::now_ms;

const LONGEST_REQUEST: usize = 70 * 1000;
const PIECE: usize = 16 * 1024;
/// With more than this waiting to be sent, no further request is taken.
const OUTPUT_PAUSE: usize = 64 * 1024;
/// With more than this, events are lost: nobody has listened for long.
const OUTPUT_LIMIT: usize = 256 * 1024;
/// How often to look whether the host has connected to the virtio port.
const RETRY_MS: u64 = 250;
const MOST_DEVICES: usize = 10_000;

/// What can be asked of a system that is not driven. `stop` is the word of the host, to which the
/// channel leads: it could as well switch the machine off.
const ADMINISTERED: [&str; 4] = ["observations", "challenge", "shutdown", "stop"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub id: u64,
    #[serde(rename = "do")]
    pub verb: String,
    pub signal: Option<i32>,
    pub pid: Option<i32>,
    pub path: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub text: Option<String>,
    pub offset: Option<u64>,
    pub length: Option<usize>,
}

/// What a request brings: a JSON value, or what went wrong.
pub type Answer = Result<String, String>;

pub struct Control {
    port: OwnedFd,
    /// A virtio port: a hang-up means that the host is not connected now. For a socket it is the end.
    reconnects: bool,
    /// All requests are taken, and not just those in ADMINISTERED.
    driven: bool,
    hung_up_until_ms: u64,
    input: Vec<u8>,
    /// The line that is arriving was too long, and is skipped up to its end.
    skipping: bool,
    output: Vec<u8>,
    /// How much of the first line of `output` has been sent.
    sent_of_line: usize,
    pub ended: bool,
}

impl Control {
    pub fn open(place: &Place) -> Outcome<Option<Control>> {
        let (port, reconnects) = match &place.control {
            ControlAt::Nowhere => return Ok(None),
            ControlAt::Device(path) => (make_transparent(open_device(path)?)?, true),
            ControlAt::Inherited(number) => (take_descriptor(*number)?, false),
        };
        let (input, output) = (Vec::new(), Vec::new());
        let control = Control {
            port,
            reconnects,
            driven: place.driven,
            hung_up_until_ms: 0,
            input,
            skipping: false,
            output,
            sent_of_line: 0,
            ended: false,
        };
        Ok(Some(control))
    }

    /// What to poll for; None while the host is not connected.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if self.ended || now_ms() < self.hung_up_until_ms {
            return None;
        }
        let mut flags = PollFlags::empty();
        if self.takes_requests() {
            flags |= PollFlags::IN;
        }
        if !self.output.is_empty() {
            flags |= PollFlags::OUT;
        }
        Some((self.port.as_fd(), flags))
    }

    /// When to poll again although nothing happens.
    pub fn deadline_ms(&self) -> Option<u64> {
        (!self.ended && self.hung_up_until_ms > 0).then_some(self.hung_up_until_ms)
    }

    fn takes_requests(&self) -> bool {
        self.output.len() < OUTPUT_PAUSE && self.input.len() <= LONGEST_REQUEST
    }

    /// Move bytes, after poll said how things stand.
    pub fn exchange(&mut self, ready: PollFlags) {
        self.hung_up_until_ms = 0;
        if ready.contains(PollFlags::IN) && self.takes_requests() {
            self.receive();
        } else if ready.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.hang_up();
        }
        if ready.contains(PollFlags::OUT) {
            self.transmit();
        }
    }

    fn receive(&mut self) {
        self.input.reserve(PIECE);
        match read(&self.port, spare_capacity(&mut self.input)) {
            Ok(0) => self.hang_up(),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.hang_up(),
        }
    }

    /// Forget half a line of either direction: the next host begins at a line.
    fn hang_up(&mut self) {
        self.ended = !self.reconnects;
        self.hung_up_until_ms = now_ms() + RETRY_MS;
        self.input.clear();
        self.skipping = false;
        if self.sent_of_line > 0 {
            let end =
                self.output.iter().position(|byte| *byte == b'\n').map_or(self.output.len(), |at| at + 1);
            self.output.drain(..end);
            self.sent_of_line = 0;
        }
    }

    fn transmit(&mut self) {
        match write(&self.port, &self.output) {
            Ok(count) => {
                let line_start = self.output[..count].iter().rposition(|byte| *byte == b'\n');
                self.sent_of_line = line_start.map_or(self.sent_of_line + count, |at| count - at - 1);
                self.output.drain(..count);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.hang_up(),
        }
    }

    /// The next complete request; lines that are none are answered here.
    pub fn next_request(&mut self) -> Option<Request> {
        while self.output.len() < OUTPUT_PAUSE {
            let Some(line) = self.next_line() else { break };
            match serde_json::from_slice(&line) {
                Ok(request) if self.may_ask(&request) => return Some(request),
                Ok(request) => {
                    let words = "this system can be observed and shut down, and nothing else";
                    self.reply(request.id, Err(format!("{}: {words}", request.verb)));
                }
                Err(error) => self.complain(&format!("not a request: {error}")),
            }
        }
        None
    }

    fn may_ask(&self, request: &Request) -> bool {
        self.driven || ADMINISTERED.contains(&request.verb.as_str())
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else {
            self.skip_long_line();
            return None;
        };
        let line: Vec<u8> = self.input.drain(..=end).collect();
        if self.skipping || end > LONGEST_REQUEST {
            self.skipping = false;
            self.complain(&format!("a request is longer than {LONGEST_REQUEST} bytes"));
            return self.next_line();
        }
        Some(line)
    }

    fn skip_long_line(&mut self) {
        if self.skipping || self.input.len() > LONGEST_REQUEST {
            self.skipping = true;
            self.input.clear();
        }
    }

    fn complain(&mut self, words: &str) {
        let line = format!(r#"{{"id":null,"error":{}}}"#, json::text(words));
        self.push_line(&line);
    }

    pub fn reply(&mut self, id: u64, answer: Answer) {
        self.push_line(&match answer {
            Ok(value) => format!(r#"{{"id":{id},"ok":{value}}}"#),
            Err(words) => format!(r#"{{"id":{id},"error":{}}}"#, json::text(&words)),
        });
    }

    /// An event: `fields` are the further members of its object.
    pub fn event(&mut self, name: &str, fields: &str) {
        if self.output.len() < OUTPUT_LIMIT {
            self.push_line(&format!(r#"{{"event":"{name}",{fields}}}"#));
        }
    }

    fn push_line(&mut self, line: &str) {
        if !self.ended {
            self.output.extend_from_slice(line.as_bytes());
            self.output.push(b'\n');
        }
    }

    /// Send what is waiting, for at most `patience_ms`, and less when nobody is connected.
    pub fn flush(&mut self, patience_ms: u64) {
        let end = now_ms() + patience_ms;
        while !self.output.is_empty() && !self.ended && now_ms() < end {
            let mut wait = [PollFd::from_borrowed_fd(self.port.as_fd(), PollFlags::OUT)];
            let _ = poll(&mut wait, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 }));
            let ready = wait[0].revents();
            if ready.intersects(PollFlags::HUP | PollFlags::ERR) {
                return;
            }
            if ready.contains(PollFlags::OUT) {
                self.transmit();
            }
        }
    }
}

/// Open the port. The kernel numbers virtio ports by their place on the bus, after disks and network
/// interfaces, so `/dev/vport*` means the first one that there is. It announces them from a work
/// queue, perhaps after process 1 has begun: three seconds are enough.
fn open_device(path: &str) -> Outcome<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut attempts = 150;
    loop {
        attempts -= 1;
        let opened = matching_path(path).and_then(|found| openat(CWD, found.as_str(), flags, Mode::empty()));
        if opened.is_ok() || attempts == 0 {
            return opened.or_fail_hint(
                format_args!("cannot open the control channel {path}"),
                "attach a serial line or a virtserialport, or correct ONEJOB_CONTROL",
            );
        }
        pause_ms(20);
    }
}

/// A serial line passes every byte on as it is, and echoes none; other devices do so anyway.
fn make_transparent(port: OwnedFd) -> Outcome<OwnedFd> {
    if let Ok(mut line) = tcgetattr(&port) {
        line.make_raw();
        tcsetattr(&port, OptionalActions::Now, &line)
            .or_fail(format_args!("cannot set the control channel's line"))?;
    }
    Ok(port)
}

/// The path itself, or for `PREFIX*` the first path in its directory that begins so.
fn matching_path(path: &str) -> rustix::io::Result<String> {
    let Some(start) = path.strip_suffix('*') else { return Ok(path.into()) };
    let (directory, prefix) = start.rsplit_once('/').ok_or(Errno::NOENT)?;
    let names = names_in(&format!("{directory}/"), MOST_DEVICES)?;
    let first = names.into_iter().filter(|name| name.starts_with(prefix)).min();
    first.map(|name| format!("{directory}/{name}")).ok_or(Errno::NOENT)
}

fn take_descriptor(number: i32) -> Outcome<OwnedFd> {
    // SAFETY: whoever started us opened it for us; if it is not open, the next call says so.
    let port = unsafe { BorrowedFd::borrow_raw(number) };
    let nonblocking = fcntl_getfl(port).and_then(|flags| fcntl_setfl(port, flags | OFlags::NONBLOCK));
    if nonblocking.is_err() {
        return Err(Failure::new(
            format_args!("ONEJOB_CONTROL names descriptor {number}, which is not open"),
            "pass it on, as with runc run --preserve-fds",
        ));
    }
    // SAFETY: it is open, and nothing else in process 1 knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
