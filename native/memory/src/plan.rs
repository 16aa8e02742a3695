//! The plan file: which arrays each program gets. Whatever stands in it is checked before it is used.
//!
//! Text, one fact a line, words separated by one space (docs/memory.md):
//!
//! ```text
//! onejob-memory 1
//! counts /run/onejob/memory
//! kernel-from 262145
//! unsafe-free no
//! huge-pages no
//! delay 0
//! program /usr/sbin/nginx
//! array 17 32 120 8
//! absent 89be207ddd6c7cbb
//! end
//! ```

/// The last array's number; the first is 1.
pub const MOST_ARRAYS: usize = 63;
/// Bytes of the largest block that an array may have.
pub const LARGEST: usize = 256 * 1024;
pub const GRANULE: usize = 16;
/// Bytes of a plan file.
pub const MOST_BYTES: usize = 256 * 1024;
/// Bytes of all arrays: places are counted in granules, in 32 bits.
const MOST_MEMORY: u64 = 32 << 30;
const MOST_BLOCKS: u64 = 1 << 26;
pub const MOST_DELAY: u64 = 256;
/// PATH_MAX, with room for the names of counts files.
const MOST_PATH: usize = 4000;
const HEAD: &[u8] = b"onejob-memory 1";
/// How a line of an absent path begins, and of what the rest is.
pub const ABSENT: &[u8] = b"absent ";
pub const ABSENT_DIGITS: usize = 16;

/// `blocks` blocks of `size` bytes, for requests of `smallest` bytes and more; `spare` of them are for
/// the caches of threads.
#[derive(Clone, Copy)]
pub struct Row {
    pub smallest: usize,
    pub size: usize,
    pub blocks: usize,
    pub spare: usize,
}

/// What one program gets.
pub struct Plan<'a> {
    /// The folder of the counts file.
    pub counts: Option<&'a [u8]>,
    /// Bytes from which on blocks come from the kernel, each in a mapping of its own.
    pub kernel_from: usize,
    pub unsafe_free: bool,
    pub huge_pages: bool,
    /// So many freed blocks of a thread wait until they are used again.
    pub delay: usize,
    rows: [Row; MOST_ARRAYS],
    row_count: usize,
    /// Which of the plan's programs this is, from 1 on; 0 where it has none of it.
    pub section: usize,
    /// Tells this program's arrays from those of another plan.
    pub identity: u64,
    /// Its lines of absent paths: where in the text the first one begins, and how many follow each other.
    pub absent: (usize, usize),
}

/// Why a plan file is refused.
pub struct Refusal {
    pub line: usize,
    pub reason: &'static str,
}

impl Plan<'_> {
    /// For a program without a plan: all is relayed.
    pub const fn empty() -> Self {
        const NO_ROW: Row = Row {
            smallest: 0,
            size: 0,
            blocks: 0,
            spare: 0,
        };
        Plan {
            counts: None,
            kernel_from: LARGEST + 1,
            unsafe_free: false,
            huge_pages: false,
            delay: 0,
            rows: [NO_ROW; MOST_ARRAYS],
            row_count: 0,
            section: 0,
            identity: 0,
            absent: (0, 0),
        }
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows[..self.row_count]
    }
}

/// Reads the whole text and keeps what is for `program`.
pub fn parse<'a>(text: &'a [u8], program: &[u8]) -> Result<Plan<'a>, Refusal> {
    let mut reader = Reader {
        plan: Plan::empty(),
        start: text.as_ptr().addr(),
        program,
        sections: 0,
        is_ours: false,
        previous: None,
        last_absent: b"",
        memory: 0,
        given: 0,
    };
    let mut lines = text.split(|&byte| byte == b'\n');
    let mut number = 1;
    let refuse = |line, reason| Err(Refusal { line, reason });
    if lines.next() != Some(HEAD) {
        return refuse(number, "the first line is not: onejob-memory 1");
    }
    for line in &mut lines {
        number += 1;
        if line == b"end" {
            // A text ends with a newline: one empty piece, and nothing behind it.
            let is_last = lines.next().is_none_or(<[u8]>::is_empty) && lines.next().is_none();
            return if is_last {
                Ok(reader.plan)
            } else {
                refuse(number + 1, "there is something behind the end")
            };
        }
        if let Err(reason) = reader.read(line) {
            return refuse(number, reason);
        }
    }
    refuse(number, "the last line is not: end")
}

struct Reader<'a, 'b> {
    plan: Plan<'a>,
    /// The address of the text.
    start: usize,
    program: &'b [u8],
    sections: usize,
    is_ours: bool,
    /// Of the program that is being read.
    previous: Option<Row>,
    last_absent: &'a [u8],
    memory: u64,
    /// A bit for each setting that was given: none may be given twice.
    given: u32,
}

impl<'a> Reader<'a, '_> {
    fn read(&mut self, line: &'a [u8]) -> Result<(), &'static str> {
        let at = line.iter().position(|&byte| byte == b' ');
        let (key, value) = line.split_at(at.ok_or("a line is: KEY VALUE")?);
        let value = &value[1..];
        match key {
            b"program" => self.begin_program(value),
            b"array" => self.add_array(value),
            b"absent" => self.add_absent(value),
            _ if self.sections > 0 => Err("no setting may follow the first program"),
            _ => self.set(key, value),
        }
    }

    fn set(&mut self, key: &[u8], value: &'a [u8]) -> Result<(), &'static str> {
        let plan = &mut self.plan;
        let bit = match key {
            b"counts" => {
                plan.counts = Some(path(value)?);
                1
            }
            b"kernel-from" => {
                plan.kernel_from = number(value, 1 << 40)? as usize;
                2
            }
            b"unsafe-free" => {
                plan.unsafe_free = yes_or_no(value)?;
                4
            }
            b"huge-pages" => {
                plan.huge_pages = yes_or_no(value)?;
                8
            }
            b"delay" => {
                plan.delay = number(value, MOST_DELAY)? as usize;
                16
            }
            _ => return Err("a setting of this name is not known"),
        };
        if self.given & bit != 0 {
            return Err("the setting was given before");
        }
        self.given |= bit;
        Ok(())
    }

    fn begin_program(&mut self, value: &'a [u8]) -> Result<(), &'static str> {
        let program = path(value)?;
        self.sections += 1;
        self.previous = None;
        self.last_absent = b"";
        self.memory = 0;
        self.is_ours = program == self.program;
        if self.is_ours {
            if self.plan.section > 0 {
                return Err("the program was planned before");
            }
            self.plan.section = self.sections;
            self.plan.identity = hash(0, value);
        }
        Ok(())
    }

    fn add_array(&mut self, value: &[u8]) -> Result<(), &'static str> {
        if self.sections == 0 {
            return Err("an array belongs to a program");
        }
        if !self.last_absent.is_empty() {
            return Err("arrays come before absent paths");
        }
        let row = parse_row(value)?;
        if self.previous.is_some_and(|last| row.smallest <= last.size) {
            return Err("arrays go from small to large and do not overlap");
        }
        if row.size >= self.plan.kernel_from {
            return Err("blocks of this size come from the kernel (kernel-from)");
        }
        self.previous = Some(row);
        self.memory += (row.size * row.blocks) as u64;
        if self.memory > MOST_MEMORY {
            return Err("the arrays of this program take more than 32 GiB");
        }
        if self.is_ours {
            let plan = &mut self.plan;
            let place = plan.rows.get_mut(plan.row_count);
            *place.ok_or("a program has at most 63 arrays")? = row;
            plan.row_count += 1;
            plan.identity = hash(plan.identity, value);
        }
        Ok(())
    }

    /// Lines of one length, in order: they are searched where they stand (`absent.rs`).
    fn add_absent(&mut self, value: &'a [u8]) -> Result<(), &'static str> {
        if self.sections == 0 {
            return Err("an absent path belongs to a program");
        }
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if value.len() != ABSENT_DIGITS || !value.iter().all(is_digit) {
            return Err("an absent path is: absent, and 16 hexadecimal digits");
        }
        if value <= self.last_absent {
            return Err("absent paths go from small to large");
        }
        self.last_absent = value;
        if self.is_ours {
            let (first, count) = self.plan.absent;
            let here = value.as_ptr().addr() - self.start - ABSENT.len();
            self.plan.absent = (if count == 0 { here } else { first }, count + 1);
        }
        Ok(())
    }
}

fn parse_row(value: &[u8]) -> Result<Row, &'static str> {
    let mut words = value.split(|&byte| byte == b' ');
    let mut next = |most| number(words.next().unwrap_or(b""), most);
    let (smallest, size, blocks, spare) = (
        next(LARGEST as u64)? as usize,
        next(LARGEST as u64)? as usize,
        next(MOST_BLOCKS)? as usize,
        next(MOST_BLOCKS)? as usize,
    );
    if words.next().is_some() {
        return Err("an array is: array SMALLEST SIZE BLOCKS SPARE");
    }
    if size == 0 || !size.is_multiple_of(GRANULE) {
        return Err("a block size is a multiple of 16");
    }
    if smallest > size || smallest % GRANULE != 1 {
        return Err(
            "the smallest request is one more than a multiple of 16, and not above the size",
        );
    }
    if blocks == 0 {
        return Err("an array has at least one block");
    }
    if spare >= blocks {
        return Err("not all blocks of an array can be spare");
    }
    Ok(Row {
        smallest,
        size,
        blocks,
        spare,
    })
}

fn number(word: &[u8], most: u64) -> Result<u64, &'static str> {
    if word.is_empty() || word.len() > 15 || !word.iter().all(u8::is_ascii_digit) {
        return Err("a number of at most 15 digits is missing");
    }
    let digits = word.iter().map(|digit| u64::from(digit - b'0'));
    let number = digits.fold(0, |number, digit| number * 10 + digit);
    if number > most {
        return Err("the number is too large");
    }
    Ok(number)
}

fn yes_or_no(word: &[u8]) -> Result<bool, &'static str> {
    match word {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err("the value is neither yes nor no"),
    }
}

fn path(word: &[u8]) -> Result<&[u8], &'static str> {
    if word.first() != Some(&b'/') || word.len() > MOST_PATH || word.contains(&0) {
        return Err("the path is not absolute, or too long");
    }
    Ok(word)
}

/// FNV-1a, with an end mark; `start` is 0 or what came out for the bytes before.
pub fn hash(start: u64, bytes: &[u8]) -> u64 {
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let start = if start == 0 {
        0xcbf2_9ce4_8422_2325
    } else {
        start
    };
    add(bytes.iter().fold(start, |hash, &byte| add(hash, byte)), 0)
}
