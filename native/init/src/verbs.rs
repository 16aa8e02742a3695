//! What the control channel can ask about files. Paths mean what they mean to the service.

use alloc::format;
use alloc::string::{String, ToString};

use rustix::fs::{AtFlags, CWD, SeekFrom, renameat, seek, stat, unlinkat};
use rustix::io::{Errno, Result};

use crate::control::{Answer, Request};
use crate::failure::Reason;
use crate::files::{link_text, names_in, open_regular, read_up_to};
use crate::{json, logs};

const LONGEST_READ: usize = 65536;
const MOST_NAMES: usize = 10_000;

/// Answer a request about files; None when the verb is unknown.
pub fn answer(request: &Request) -> Option<Answer> {
    let act: fn(&str) -> Result<String> = match request.verb.as_str() {
        "rename" => return Some(rename(request)),
        "read" => return Some(read_piece(request)),
        "remove" => remove,
        "exists" => exists,
        "list" => list,
        "readlink" => |path| link_text(path).map(|text| json::text(&text)),
        _ => return None,
    };
    Some(path_of(request).and_then(|path| act(path).map_err(|error| explain(&request.verb, path, error))))
}

/// `rename /a: No such file or directory`
pub fn explain(verb: &str, path: &str, error: Errno) -> String {
    format!("{verb} {path}: {}", Reason(error))
}

/// The path of a request, which must be absolute: there is no other directory to start from.
pub fn path_of(request: &Request) -> core::result::Result<&str, String> {
    absolute(request, "path", request.path.as_deref())
}

fn absolute<'a>(
    request: &Request,
    name: &str,
    path: Option<&'a str>,
) -> core::result::Result<&'a str, String> {
    path.filter(|path| path.starts_with('/'))
        .ok_or_else(|| format!("{} needs an absolute `{name}`", request.verb))
}

fn rename(request: &Request) -> Answer {
    let from = absolute(request, "from", request.from.as_deref())?;
    let to = absolute(request, "to", request.to.as_deref())?;
    let protected = logs::lift(from) == Ok(true);
    let _ = logs::lift(to); // what is replaced, if there is anything
    let renamed = renameat(CWD, from, CWD, to);
    if protected {
        let _ = logs::restore(if renamed.is_ok() { to } else { from });
    }
    renamed.map_err(|error| explain("rename", from, error))?;
    Ok("null".to_string())
}

fn remove(path: &str) -> Result<String> {
    let _ = logs::lift(path); // it may be none
    match unlinkat(CWD, path, AtFlags::empty()) {
        Err(Errno::ISDIR) => unlinkat(CWD, path, AtFlags::REMOVEDIR)?,
        outcome => outcome?,
    }
    Ok("null".to_string())
}

fn exists(path: &str) -> Result<String> {
    match stat(path) {
        Ok(_) => Ok("true".to_string()),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok("false".to_string()),
        Err(error) => Err(error),
    }
}

fn list(path: &str) -> Result<String> {
    let names = names_in(path, MOST_NAMES)?;
    Ok(json::list(names.iter().map(|name| json::text(name))))
}

fn read_piece(request: &Request) -> Answer {
    let path = path_of(request)?;
    let (Some(offset), Some(length @ ..=LONGEST_READ)) = (request.offset, request.length) else {
        return Err(format!("read needs `offset`, and `length` of at most {LONGEST_READ}"));
    };
    let piece = || {
        let file = open_regular(path)?;
        seek(&file, SeekFrom::Start(offset))?;
        // One byte more shows whether this is the end, also where the size is not known (/proc).
        read_up_to(file, length + 1)
    };
    let mut bytes = piece().map_err(|error| explain("read", path, error))?;
    let eof = bytes.len() <= length;
    bytes.truncate(length);
    Ok(format!(r#"{{"data":"{}","eof":{eof}}}"#, json::base64(&bytes)))
}
