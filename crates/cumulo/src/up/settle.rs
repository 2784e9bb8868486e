//! Gives back what only the start needed: freed heap, and the pages of the program itself that were read for schemas, bootstrap and routes.
//!
//! They are clean pages of a file: what is needed again comes back from the page cache by itself.

use std::ffi::c_void;
use std::time::Duration;

use nix::libc;

/// When the services' first rounds of work are over.
const AFTER: Duration = Duration::from_secs(2);

/// Waits for the start to be over, and gives back.
pub async fn settle() {
    tokio::time::sleep(AFTER).await;
    let ranges = tokio::task::spawn_blocking(|| {
        trim();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let program = std::env::current_exe().unwrap_or_default();
        code_of(&maps, &program.to_string_lossy()).into_iter().filter(|range| drop_clean(*range)).count()
    });
    let ranges = ranges.await.unwrap_or_default();
    tracing::debug!(ranges, "gave back what the start needed");
}

/// Where the code of `program` lies, by the lines of `/proc/self/maps`: executable, and never writable.
fn code_of(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let range = |line: &str| {
        let (addresses, rest) = line.split_once(' ')?;
        let (begin, end) = addresses.split_once('-')?;
        let is_code = rest.starts_with("r-xp ") && !program.is_empty() && rest.ends_with(program);
        is_code.then(|| Some((usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?)))?
    };
    maps.lines().filter_map(range).collect()
}

#[allow(unsafe_code)]
fn drop_clean((begin, end): (usize, usize)) -> bool {
    // SAFETY: a read-only mapping of our own file; a page that is dropped is read anew from it when it is next used
    unsafe { libc::madvise(begin as *mut c_void, end - begin, libc::MADV_DONTNEED) == 0 }
}

#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
fn trim() {
    // SAFETY: malloc_trim may be called at any time
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_code_is_given_back() {
        let maps = "55d0a0000000-55d0a0100000 r--p 00000000 fe:00 1 /usr/bin/cumulo\n\
                    55d0a0100000-55d0a0200000 r-xp 00100000 fe:00 1 /usr/bin/cumulo\n\
                    55d0a0200000-55d0a0300000 rw-p 00200000 fe:00 1 /usr/bin/cumulo\n\
                    7f0000000000-7f0000001000 r-xp 00000000 fe:00 2 /usr/lib/libc.so.6\n\
                    7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0 [vdso]\n";
        assert_eq!(code_of(maps, "/usr/bin/cumulo"), [(0x55d0_a010_0000, 0x55d0_a020_0000)]);
        assert!(code_of(maps, "").is_empty());
    }

    #[test]
    fn the_program_goes_on_after_it() {
        let program = std::env::current_exe().unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let ranges = code_of(&maps, &program.to_string_lossy());
        assert!(!ranges.is_empty() && ranges.into_iter().all(drop_clean));
        trim();
        assert_eq!(code_of(&maps, "/none"), []);
    }
}
