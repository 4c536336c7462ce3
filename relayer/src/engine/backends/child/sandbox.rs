//! What a model's process takes away from itself before its model is loaded: files, network, other processes, privileges.
//!
//! What runs then needs memory, threads of its own, the clock, and the socket that it has. seccomp refuses every system call that
//! is not on the list, in all threads: no file is opened, no connection made. Landlock, where the system has it, says the same of
//! files once more. Only Linux has either.

use std::path::Path;

/// Takes the means away from all threads. Whoever needs a file later must have opened it before.
///
/// # Errors
/// What failed, in words.
pub(in crate::engine::backends) fn enter() -> Result<(), String> {
    #[cfg(target_os = "linux")]
    {
        linux::limit()?;
        linux::close_files(&[])?;
        linux::close_calls(linux::Calls::Run)?;
    }
    Ok(())
}

/// Takes the means away that loading a model does not need, whose file is open, and whose weights lie in a folder. `enter` is
/// to follow. Only this thread and those that it starts are kept from other files, so there should be no others.
///
/// Returns whether files are closed: a system without Landlock cannot close some and not others.
///
/// # Errors
/// What failed, in words.
pub(in crate::engine::backends) fn enter_for_loading(weights: Option<&Path>) -> Result<bool, String> {
    #[cfg(target_os = "linux")]
    {
        linux::limit()?;
        // Operators on texts read the system's locales.
        let paths = [Path::new("/proc/self/fd/1"), Path::new("/usr/lib/locale")];
        let paths: Vec<_> = paths.into_iter().chain(weights).filter(|path| path.exists()).collect();
        let is_closed = linux::close_files(&paths)?;
        if is_closed {
            linux::close_calls(linux::Calls::Load)?;
        }
        Ok(is_closed)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = weights;
        Ok(true)
    }
}

/// Takes the means away that no driver of a GPU needs: the network, and other processes, but for what files say of them.
///
/// # Errors
/// What failed, in words.
pub(in crate::engine::backends) fn enter_with_driver() -> Result<(), String> {
    #[cfg(target_os = "linux")]
    {
        linux::no_dumps()?;
        linux::close_network()?;
    }
    Ok(())
}

/// Lets the process have so many bytes of memory of its own; 0 for no limit. What is beyond fails where it is asked for.
///
/// # Errors
/// What failed, in words.
pub(in crate::engine::backends) fn limit_memory(bytes: u64) -> Result<(), String> {
    #[cfg(target_os = "linux")]
    if bytes > 0 {
        linux::limit_memory(bytes)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = bytes;
    Ok(())
}

/// Has the system end this process first where memory runs out, not the node. Where a container has no such file, the system
/// chooses as it likes.
pub(in crate::engine::backends) fn die_first() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}

/// What this system lets the process of a model take away from itself.
#[derive(Clone, Debug)]
pub struct Abilities {
    /// Whether system calls can be filtered, or why not.
    pub seccomp: Result<(), String>,
    /// The version of Landlock by which files are refused, or why they are not.
    pub landlock: Result<String, String>,
}

impl Abilities {
    /// Tries it in threads of their own, which end with what they took away from themselves.
    #[must_use]
    pub fn try_out() -> Self {
        #[cfg(target_os = "linux")]
        {
            let ended = |_| Err("the trial's thread panicked".to_owned());
            let seccomp = std::thread::spawn(linux::try_seccomp).join().unwrap_or_else(ended);
            let landlock = std::thread::spawn(linux::try_landlock).join();
            Self { seccomp, landlock: landlock.unwrap_or_else(|_| Err("the trial's thread panicked".to_owned())) }
        }
        #[cfg(not(target_os = "linux"))]
        {
            let none = || "only Linux has it".to_owned();
            Self { seccomp: Err(none()), landlock: Err(none()) }
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{collections::BTreeMap, path::Path};

    use landlock::{
        ABI, Access, AccessFs, AccessNet, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
        RulesetCreatedAttr, RulesetStatus, Scope,
    };
    use rustix::process::{Resource, Rlimit, setrlimit};
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };

    use super::super::wire::MAX_DATA;

    /// Files that the process may have open at once: it has its socket, its model and its log.
    const MAX_FILES: u64 = 64;
    /// The bit of memory that is shared, among the flags of `mmap`.
    const MAP_SHARED: u64 = 1;

    /// System calls that allocators, threads, clocks, signals of WebAssembly's traps, and the socket with its memory need.
    const ALLOWED: &[libc::c_long] = &[
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
        libc::SYS_shutdown,
        libc::SYS_close,
        libc::SYS_fstat,
        libc::SYS_lseek,
        libc::SYS_ppoll,
        libc::SYS_memfd_create,
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_futex,
        libc::SYS_rseq,
        libc::SYS_set_robust_list,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_sysinfo,
        libc::SYS_uname,
        libc::SYS_getrusage,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
        // Refused by a filter of its own, with the error that makes threads start by `clone`.
        libc::SYS_clone3,
    ];
    /// Calls of older days, which newer machines do not have.
    #[cfg(target_arch = "x86_64")]
    const ALLOWED_HERE: &[libc::c_long] = &[libc::SYS_poll, libc::SYS_arch_prctl];
    #[cfg(not(target_arch = "x86_64"))]
    const ALLOWED_HERE: &[libc::c_long] = &[];

    /// System calls with which a runtime reads a model's files, and with which the rest is taken away then.
    const ALLOWED_TO_LOAD: &[libc::c_long] = &[
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_statfs,
        libc::SYS_fstatfs,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_readlinkat,
        libc::SYS_getdents64,
        libc::SYS_pread64,
        libc::SYS_fadvise64,
        libc::SYS_getcwd,
        libc::SYS_seccomp,
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_add_rule,
        libc::SYS_landlock_restrict_self,
    ];
    /// Those of older days.
    #[cfg(target_arch = "x86_64")]
    const ALLOWED_TO_LOAD_HERE: &[libc::c_long] =
        &[libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink];
    #[cfg(not(target_arch = "x86_64"))]
    const ALLOWED_TO_LOAD_HERE: &[libc::c_long] = &[];

    /// System calls that reach other processes, or get around a filter.
    const REFUSED_TO_DRIVERS: &[libc::c_long] = &[
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
    ];

    /// What system calls are for.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(super) enum Calls {
        Load,
        Run,
    }

    /// No memory dumps, which would hold what the process was asked, few open files, and none that is longer than a message.
    pub(super) fn limit() -> Result<(), String> {
        no_dumps()?;
        set(Resource::Fsize, MAX_DATA.into())?;
        set(Resource::Nofile, MAX_FILES)
    }

    pub(super) fn no_dumps() -> Result<(), String> {
        set(Resource::Core, 0)
    }

    pub(super) fn limit_memory(bytes: u64) -> Result<(), String> {
        set(Resource::Data, bytes)
    }

    fn set(resource: Resource, limit: u64) -> Result<(), String> {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(resource, limit).map_err(|error| format!("a limit: {error}"))
    }

    /// Refuses all files by Landlock to this thread and those that it starts, and connections where the system knows how; but
    /// for reading what lies at or below these paths.
    ///
    /// Returns whether they are refused: a system without Landlock is no error, where seccomp opens no files either.
    pub(super) fn close_files(but: &[&Path]) -> Result<bool, String> {
        let told = |error: std::io::Error| format!("Landlock: {error}");
        let readable = |path: &&Path| {
            let access = if path.is_dir() { AccessFs::ReadFile | AccessFs::ReadDir } else { AccessFs::ReadFile.into() };
            PathFd::new(path).map(|path| PathBeneath::new(path, access)).map_err(std::io::Error::other)
        };
        let readable = but.iter().map(readable).collect::<Result<Vec<_>, _>>().map_err(told)?;
        let enforced = Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V5))
            .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V5)))
            .and_then(|rules| rules.scope(Scope::from_all(ABI::V6)))
            .and_then(|rules| rules.create())
            .and_then(|rules| readable.into_iter().try_fold(rules, |rules, rule| rules.add_rule(rule)))
            .and_then(|rules| rules.restrict_self());
        let status = enforced.map_err(|error| format!("Landlock: {error}"))?;
        Ok(status.ruleset != RulesetStatus::NotEnforced)
    }

    /// Filters the calls of this thread.
    pub(super) fn try_seccomp() -> Result<(), String> {
        let told = |error: seccompiler::Error| format!("filters of system calls are refused: {error}");
        filters(Calls::Run)?.iter().try_for_each(|filter| seccompiler::apply_filter(filter).map_err(told))
    }

    /// Refuses files to this thread; by which version of Landlock.
    pub(super) fn try_landlock() -> Result<String, String> {
        let status = Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V5))
            .and_then(|rules| rules.create())
            .and_then(|rules| rules.restrict_self())
            .map_err(|error| format!("it is refused: {error}"))?;
        match (status.ruleset, status.landlock) {
            (RulesetStatus::NotEnforced, _) | (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => {
                Err("this system has none, or it is not enabled".to_owned())
            }
            (_, LandlockStatus::Available { effective_abi, .. }) => Ok(format!("version {}", effective_abi as i32)),
        }
    }

    /// Refuses all system calls but those on the list, in all threads.
    pub(super) fn close_calls(calls: Calls) -> Result<(), String> {
        filters(calls)?.iter().try_for_each(apply)
    }

    /// Refuses connections, and other processes' memory, in all threads.
    pub(super) fn close_network() -> Result<(), String> {
        let family = |family: i32| of(0, SeccompCmpOp::Eq, u64::from(family.unsigned_abs()));
        let mut rules: BTreeMap<_, _> = REFUSED_TO_DRIVERS.iter().map(|call| (*call, Vec::new())).collect();
        rules.insert(libc::SYS_socket, vec![family(libc::AF_INET)?, family(libc::AF_INET6)?, family(libc::AF_VSOCK)?]);
        rules.insert(libc::SYS_prlimit64, vec![of(0, SeccompCmpOp::Ne, 0)?]);
        apply(&program(rules, SeccompAction::Allow, refuse(libc::EPERM))?)
    }

    fn apply(filter: &BpfProgram) -> Result<(), String> {
        seccompiler::apply_filter_all_threads(filter).map_err(|error| format!("seccomp: {error}"))
    }

    fn refuse(errno: i32) -> SeccompAction {
        SeccompAction::Errno(errno.unsigned_abs())
    }

    fn of(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, String> {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .map_err(|error| format!("seccomp: {error}"))
    }

    /// The filter that makes threads start by `clone`, whose flags can be looked at, and the list.
    pub(super) fn filters(calls: Calls) -> Result<[BpfProgram; 2], String> {
        let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        let mut list: BTreeMap<_, _> =
            ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, Vec::<SeccompRule>::new())).collect();
        // Threads, but no processes; limits and signals of this process, not the node's; no signals by a file's owner.
        let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
        list.insert(libc::SYS_clone, vec![of(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
        list.insert(libc::SYS_prlimit64, vec![of(0, SeccompCmpOp::Eq, 0)?]);
        list.insert(libc::SYS_tgkill, vec![of(0, SeccompCmpOp::Eq, std::process::id().into())?]);
        list.insert(libc::SYS_prctl, vec![of(0, SeccompCmpOp::Eq, u64::from(libc::PR_SET_NAME.unsigned_abs()))?]);
        let commands = [
            libc::F_GETFD,
            libc::F_SETFD,
            libc::F_GETFL,
            libc::F_SETFL,
            libc::F_DUPFD_CLOEXEC,
            libc::F_ADD_SEALS,
            libc::F_GET_SEALS,
        ];
        let commands = commands.map(|command| of(1, SeccompCmpOp::Eq, u64::from(command.unsigned_abs())));
        list.insert(libc::SYS_fcntl, commands.into_iter().collect::<Result<_, _>>()?);
        // Shared memory would not count as the process's own.
        list.insert(libc::SYS_mmap, vec![of(3, SeccompCmpOp::MaskedEq(MAP_SHARED), 0)?]);
        if calls == Calls::Load {
            list.extend(ALLOWED_TO_LOAD.iter().chain(ALLOWED_TO_LOAD_HERE).map(|call| (*call, Vec::new())));
            let reading = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC).unsigned_abs();
            list.insert(libc::SYS_openat, vec![of(2, SeccompCmpOp::MaskedEq(reading.into()), 0)?]);
            #[cfg(target_arch = "x86_64")]
            list.insert(libc::SYS_open, vec![of(1, SeccompCmpOp::MaskedEq(reading.into()), 0)?]);
            let options = [libc::PR_SET_NAME, libc::PR_SET_NO_NEW_PRIVS];
            let options = options.map(|option| of(0, SeccompCmpOp::Eq, u64::from(option.unsigned_abs())));
            list.insert(libc::SYS_prctl, options.into_iter().collect::<Result<_, _>>()?);
        }
        Ok([
            program(no_clone3, SeccompAction::Allow, refuse(libc::ENOSYS))?,
            program(list, refuse(libc::EPERM), SeccompAction::Allow)?,
        ])
    }

    fn program(
        rules: BTreeMap<i64, Vec<SeccompRule>>,
        otherwise: SeccompAction,
        matched: SeccompAction,
    ) -> Result<BpfProgram, String> {
        let told = |error: seccompiler::BackendError| format!("seccomp: {error}");
        let here = std::env::consts::ARCH.try_into().map_err(told)?;
        SeccompFilter::new(rules, otherwise, matched, here).and_then(BpfProgram::try_from).map_err(told)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
