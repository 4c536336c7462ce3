use std::{
    fs::File,
    io::Read,
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    process::Command,
    thread,
};

use super::linux;

/// Runs in a thread that is isolated as the process of a model is.
fn isolated<T: Send + 'static>(landlock: bool, run: impl FnOnce() -> T + Send + 'static) -> T {
    let isolated = move || {
        if landlock {
            linux::close_files(&[]).unwrap();
        }
        for filter in linux::filters(linux::Calls::Run).unwrap() {
            seccompiler::apply_filter(&filter).unwrap();
        }
        run()
    };
    thread::spawn(isolated).join().unwrap()
}

#[test]
fn an_isolated_process_reaches_no_file_no_network_and_no_other_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (path, new) = (folder.path().join("key"), folder.path().join("new"));
    std::fs::write(&path, "secret").unwrap();
    let before = (File::open(&path).is_ok(), TcpStream::connect(address).is_ok());
    assert_eq!(before, (true, true));
    for landlock in [true, false] {
        let (path, new) = (path.clone(), new.clone());
        let after = isolated(landlock, move || {
            [
                File::open(&path).is_ok(),
                File::open("/etc/passwd").is_ok(),
                File::create(&new).is_ok(),
                std::fs::remove_file(&path).is_ok(),
                TcpStream::connect(address).is_ok(),
                TcpListener::bind("127.0.0.1:0").is_ok(),
                UnixStream::pair().is_ok(),
                Command::new("/bin/true").status().is_ok(),
                File::open(format!("/proc/{}/mem", std::process::id())).is_ok(),
                rustix::process::kill_process(rustix::process::Pid::INIT, rustix::process::Signal::CONT).is_ok(),
            ]
        });
        assert_eq!(after, [false; 10], "with Landlock: {landlock}");
    }
}

#[test]
fn a_process_that_loads_a_model_reads_its_files_and_no_others_and_writes_none() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, new) = (folder.path().join("weights"), folder.path().join("new"));
    std::fs::write(&weights, "weights").unwrap();
    let (own_id, parent) = (rustix::process::getpid(), rustix::process::getppid());
    let core = move |pid| {
        let limit = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::prlimit(pid, rustix::process::Resource::Core, limit).is_ok()
    };
    let loading = move || {
        let is_closed = linux::close_files(&[folder.path()]).unwrap();
        for filter in linux::filters(linux::Calls::Load).unwrap() {
            seccompiler::apply_filter(&filter).unwrap();
        }
        let others = File::open("/etc/passwd").is_ok();
        let written = [File::create(&new).is_ok(), File::options().append(true).open(&weights).is_ok()];
        let reached = [TcpListener::bind("127.0.0.1:0").is_ok(), core(Some(own_id)), core(parent)];
        (is_closed, others, written, reached, core(None), File::open(&weights).is_ok())
    };
    let (is_closed, others, written, reached, own, read) = thread::spawn(loading).join().unwrap();
    assert_eq!((others, written, reached), (!is_closed, [false; 2], [false; 3]));
    assert!(own && read);
}

#[test]
fn an_isolated_process_has_memory_threads_clocks_and_its_open_files() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    isolated(true, move || {
        let started = std::time::Instant::now();
        let sum = thread::spawn(|| vec![1u8; 64 << 20].iter().map(|byte| u64::from(*byte)).sum::<u64>());
        assert_eq!(sum.join().unwrap(), 64 << 20);
        thread::sleep(std::time::Duration::from_millis(1));
        assert!(started.elapsed().as_millis() >= 1);
        std::io::Write::write_all(&mut &theirs, b"done").unwrap();
    });
    let mut said = String::new();
    ours.read_to_string(&mut said).unwrap();
    assert_eq!(said, "done");
}
