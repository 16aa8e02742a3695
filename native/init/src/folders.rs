//! What lies in the folders that the service can write to: by folder, names up to a limit.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Dir, FileType};

use crate::files::{open_directory, text_of};
use crate::instance::{Kind, Mount};
use crate::json;

/// Process 1 must not be kept from its work, nor its report grow, by a service that makes files.
const MOST_ENTRIES: usize = 4096;
const MOST_FOLDERS: usize = 256;
const MOST_NAMES: usize = 32;
const MOST_DEPTH: usize = 16;

#[derive(Default)]
pub struct Folders {
    list: Vec<Folder>,
    left: usize,
    /// There was more than the limits let through.
    cut: bool,
}

struct Folder {
    path: String,
    names: Vec<String>,
    entries: usize,
}

impl Folders {
    /// Of all that the plan mounts for writing; no symbolic link is followed.
    pub fn look(mounts: &[Mount]) -> Folders {
        let mut found = Folders { left: MOST_ENTRIES, ..Folders::default() };
        for mount in mounts.iter().filter(|mount| matches!(mount.kind, Kind::Data | Kind::Tmpfs)) {
            if let Ok(directory) = open_directory(CWD, mount.path.as_str()) {
                found.walk(&directory, &mount.path, 0);
            }
        }
        found
    }

    fn walk(&mut self, directory: &OwnedFd, path: &str, depth: usize) {
        if depth > MOST_DEPTH || self.list.len() == MOST_FOLDERS {
            self.cut = true;
            return;
        }
        let Ok(entries) = Dir::read_from(directory) else { return };
        let place = self.list.len();
        self.list.push(Folder { path: path.into(), names: Vec::new(), entries: 0 });
        let mut inner = Vec::new();
        for entry in entries.flatten() {
            let name = text_of(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if self.left == 0 {
                self.cut = true;
                return;
            }
            self.left -= 1;
            if entry.file_type() == FileType::Directory {
                inner.push(name);
            } else {
                self.list[place].add(name);
            }
        }
        for name in inner {
            if let Ok(below) = open_directory(directory.as_fd(), name.as_str()) {
                self.walk(&below, &format!("{}/{name}", path.trim_end_matches('/')), depth + 1);
            }
        }
    }

    /// As members of a JSON object.
    pub fn fields(&self) -> String {
        let list = json::list(self.list.iter().map(Folder::to_json));
        format!(r#""folders":{list},"folders_cut":{}"#, self.cut)
    }
}

impl Folder {
    fn add(&mut self, name: String) {
        self.entries += 1;
        if self.names.len() < MOST_NAMES {
            self.names.push(name);
        }
    }

    fn to_json(&self) -> String {
        let names = json::list(self.names.iter().map(|name| json::text(name)));
        format!(r#"{{"path":{},"names":{names},"entries":{}}}"#, json::text(&self.path), self.entries)
    }
}
