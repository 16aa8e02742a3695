//! Answers to who asks at the control channel.

use alloc::format;
use alloc::string::{String, ToString};

use super::{Supervisor, standings};
use crate::console::say;
use crate::control::{Answer, Control, Request};
use crate::failure::Reason;
use crate::search::Search;
use crate::{json, logs, processes, sys, verbs};

impl Supervisor<'_> {
    pub(super) fn serve_requests(&mut self) {
        self.continue_search();
        while self.search.is_none() {
            let Some(request) = self.control.as_mut().and_then(Control::next_request) else { return };
            if let Some(answer) = self.answer(&request) {
                self.reply(request.id, answer);
            }
        }
    }

    fn reply(&mut self, id: u64, answer: Answer) {
        if let Some(control) = self.control.as_mut() {
            control.reply(id, answer);
        }
    }

    /// None when the answer comes later.
    fn answer(&mut self, request: &Request) -> Option<Answer> {
        let done = || "null".to_string();
        Some(match request.verb.as_str() {
            "challenge" => self.administrator.challenge().map(json::text),
            "shutdown" => self.administrator.check(request.text.as_deref().unwrap_or("")).map(|()| {
                say(format_args!("shut down by the administrator"));
                self.stop();
                done()
            }),
            "contains" => return self.begin_search(request).err().map(Err),
            "signal" => self.signal(request.signal, request.pid).map(|()| done()),
            "stop" => {
                self.stop();
                Ok(done())
            }
            "denials" => Ok(self.denials.to_json()),
            "processes" => processes::list_as_json(standings(self.tracer.as_mut()))
                .map_err(|error| format!("processes: {}", Reason(error))),
            "observations" => Ok(self.observer.report(&self.denials, standings(self.tracer.as_mut()))),
            verb => return verbs::answer(request).or_else(|| Some(Err(format!("unknown request {verb}")))),
        })
    }

    /// To the main process, or to another of the service's.
    fn signal(&self, signal: Option<i32>, pid: Option<i32>) -> Result<(), String> {
        let Some(signal @ 1..=sys::LAST_SIGNAL) = signal else {
            return Err(String::from("signal needs `signal`, a number from 1 to 64"));
        };
        if self.life.has_ended() {
            return Err(format!("signal: {} has ended", self.instance.name));
        }
        let pid = pid.unwrap_or(self.service.pid);
        if pid <= 1 {
            return Err(format!("signal: {pid} is no process of {}", self.instance.name));
        }
        logs::lift_changing(&self.instance.logs);
        sys::kill(pid, signal).map_err(|error| format!("signal {signal}: {}", Reason(error)))
    }

    fn begin_search(&mut self, request: &Request) -> Result<(), String> {
        let path = verbs::path_of(request)?;
        let text = request.text.as_deref().ok_or("contains needs `text`")?;
        let search =
            Search::new(request.id, path, text).map_err(|error| verbs::explain("contains", path, error))?;
        self.search = Some(search);
        Ok(())
    }

    fn continue_search(&mut self) {
        let Some(search) = self.search.as_mut() else { return };
        let Some(found) = search.step() else { return };
        let answer = found
            .map(|found| found.to_string())
            .map_err(|error| verbs::explain("contains", &search.path, error));
        let id = search.id;
        self.search = None;
        self.reply(id, answer);
    }
}
