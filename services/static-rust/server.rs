//! The gallery's static server: HTTP/1.1 with the standard library alone, one thread for each connection.
//!
//! Built by scripts/build-static-server.sh into one file without a loader, without libraries.
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const MOST_CONNECTIONS: usize = 64;
const LARGEST_BODY: usize = 64 * 1024;
const LOG: &str = "/var/log/static-server/access.log";
static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(status: i32) -> !;
}

const SIGTERM: i32 = 15;

extern "C" fn end(_: i32) {
    // SAFETY: _exit(2) may be called in a signal handler (signal-safety(7)); it takes any number.
    unsafe { _exit(0) }
}

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "0.0.0.0:8081".to_string());
    // SAFETY: `end` has the type that signal(2) wants, and does only what a handler may.
    unsafe { signal(SIGTERM, end) };
    let listener = TcpListener::bind(&address)?;
    println!("listening on {address}");
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        if CONNECTIONS.fetch_add(1, Ordering::SeqCst) >= MOST_CONNECTIONS {
            let _ = respond(&stream, "503 Service Unavailable", b"busy\n", false);
            CONNECTIONS.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        thread::spawn(move || {
            while let Ok(true) = serve(&stream) {}
            drop(stream); // before the next one is let in, so that no more are ever open
            CONNECTIONS.fetch_sub(1, Ordering::SeqCst);
        });
    }
    Ok(())
}

/// Answers one request; whether the connection goes on.
fn serve(stream: &TcpStream) -> std::io::Result<bool> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    if reader.by_ref().take(8192).read_line(&mut first)? == 0 {
        return Ok(false);
    }
    let (mut length, mut close) = (0, false);
    loop {
        let mut line = String::new();
        if reader.by_ref().take(8192).read_line(&mut line)? == 0 {
            return Ok(false);
        }
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(usize::MAX);
        }
        close |= line == "connection: close";
    }
    if length > LARGEST_BODY {
        respond(stream, "413 Content Too Large", b"too large\n", false)?;
        return Ok(false);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = first.split_whitespace();
    let (status, answer) = match (words.next(), words.next()) {
        (Some("GET"), Some(path)) if path == "/" || path.starts_with("/?") => {
            note(path)?;
            ("200 OK", b"one job\n".to_vec())
        }
        (Some("POST"), Some("/echo")) => ("200 OK", body),
        (Some("GET" | "POST"), Some(_)) => ("404 Not Found", b"not found\n".to_vec()),
        _ => ("400 Bad Request", b"bad request\n".to_vec()),
    };
    respond(stream, status, &answer, !close)?;
    Ok(!close)
}

/// Logs a request that has a query; the file is opened each time, so that it can be renamed.
fn note(path: &str) -> std::io::Result<()> {
    if let Some((_, query)) = path.split_once('?') {
        let mut log = OpenOptions::new().append(true).create(true).open(LOG)?;
        writeln!(log, "{query}")?;
    }
    Ok(())
}

fn respond(mut stream: &TcpStream, status: &str, body: &[u8], keep: bool) -> std::io::Result<()> {
    let connection = if keep { "keep-alive" } else { "close" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())
}
