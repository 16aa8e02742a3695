//! Where process 1 finds itself: in a machine or a container, with which control and data.

use alloc::string::{String, ToString};
use core::ffi::CStr;

use crate::failure::{Failure, Outcome};
use crate::slot::Slot;

pub struct Place {
    /// A whole machine (reboot at the end) and not a container (exit at the end).
    pub machine: bool,
    pub control: ControlAt,
    /// Whoever is at the control channel may do all that it offers, as drills need it. Otherwise the
    /// system is observed there and stopped, and nothing else.
    pub driven: bool,
    pub data: DataAt,
    /// Of a machine that was started from an installed disk.
    pub slot: Option<Slot>,
}

pub enum ControlAt {
    Nowhere,
    /// A virtio port, or a pattern such as /dev/vport* for the first one.
    Device(String),
    /// A descriptor that was open when process 1 started.
    Inherited(i32),
}

pub enum DataAt {
    Nowhere,
    /// A block device with ext4.
    Device(String),
    /// The container runtime has mounted /.onejob/data already.
    Directory,
    /// Volatile, for instances that may forget.
    Memory {
        size_kib: u64,
    },
}

/// True in a container: the variable `container` is set (systemd's container interface).
pub fn in_container(environment: &[&CStr]) -> bool {
    value_of(environment, "container").is_some()
}

impl Place {
    pub fn read(environment: &[&CStr]) -> Outcome<Place> {
        let control = value_of(environment, "ONEJOB_CONTROL");
        let data = value_of(environment, "ONEJOB_DATA");
        Ok(Place {
            machine: !in_container(environment),
            driven: value_of(environment, "ONEJOB_DRIVEN") == Some("yes"),
            control: control.map_or(Ok(ControlAt::Nowhere), control_at)?,
            data: data.map_or(Ok(DataAt::Nowhere), data_at)?,
            slot: slot_of(value_of(environment, "ONEJOB_SLOT"), value_of(environment, "ONEJOB_STATE"))?,
        })
    }
}

fn value_of<'a>(environment: &[&'a CStr], name: &str) -> Option<&'a str> {
    environment
        .iter()
        .filter_map(|word| word.to_str().ok()?.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Both words, or neither.
fn slot_of(name: Option<&str>, device: Option<&str>) -> Outcome<Option<Slot>> {
    let name = match (name, device) {
        (None, None) => return Ok(None),
        (Some("a"), Some(_)) => "a",
        (Some("b"), Some(_)) => "b",
        _ => {
            return Err(Failure::new(
                format_args!("ONEJOB_SLOT and ONEJOB_STATE do not say which slot this is"),
                "give both, as an installed disk does: a or b, and a block device",
            ));
        }
    };
    Ok(device.map(|device| Slot { name, device: device.to_string() }))
}

fn control_at(value: &str) -> Outcome<ControlAt> {
    if value.starts_with('/') {
        return Ok(ControlAt::Device(value.to_string()));
    }
    match value.strip_prefix("fd:").and_then(|number| number.parse().ok()) {
        Some(number) if number > 2 => Ok(ControlAt::Inherited(number)),
        _ => Err(Failure::new(
            format_args!("ONEJOB_CONTROL={value} is neither a device nor a descriptor"),
            "write /dev/vport* or fd:3",
        )),
    }
}

fn data_at(value: &str) -> Outcome<DataAt> {
    if value.starts_with('/') {
        return Ok(DataAt::Device(value.to_string()));
    }
    if value == "dir" {
        return Ok(DataAt::Directory);
    }
    match value.strip_prefix("tmpfs:").and_then(|size| size.parse().ok()) {
        Some(size_kib) if size_kib > 0 => Ok(DataAt::Memory { size_kib }),
        _ => Err(Failure::new(
            format_args!("ONEJOB_DATA={value} is not a place for data"),
            "write a block device such as /dev/vdb, dir, or tmpfs:SIZE_KIB",
        )),
    }
}
