//! The host's end of a guest's interface: a persistent tap, owned by QEMU's user. The neutron-agent sees it come and wires it.
//!
//! Made by ioctl on `/dev/net/tun` and handed to QEMU open, so QEMU needs no right to that device.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

mod ioctl {
    use nix::libc;
    nix::ioctl_write_ptr_bad!(attach, nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()), libc::ifreq);
    nix::ioctl_write_int_bad!(persist, nix::request_code_write!(b'T', 203, size_of::<libc::c_int>()));
    nix::ioctl_write_int_bad!(owner, nix::request_code_write!(b'T', 204, size_of::<libc::c_int>()));
    nix::ioctl_write_ptr_bad!(set_mtu, libc::SIOCSIFMTU, libc::ifreq);
}

/// Opens a tap for a guest, making it when it is not there.
pub fn open(name: &str, owner: u32, mtu: u32) -> io::Result<OwnedFd> {
    let tap = attach(name)?;
    let owner = i32::try_from(owner).map_err(io::Error::other)?;
    configure(&tap, Some(owner), true)?;
    set_mtu(name, mtu)?;
    Ok(tap.into())
}

/// Makes a tap that stays when nobody has it open.
pub fn make(name: &str, owner: u32, mtu: u32) -> io::Result<()> {
    match open(name, owner, mtu) {
        // a guest has it: then it is there
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
        done => done.map(drop),
    }
}

/// Removes a tap; it is no error that there is none. A guest must not have it any more.
pub fn remove(name: &str) -> io::Result<()> {
    // attaching makes one where there was none, and that goes when it is closed here
    let tap = attach(name)?;
    configure(&tap, None, false)
}

fn attach(name: &str) -> io::Result<File> {
    let tap = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as i16;
    #[allow(unsafe_code)] // TUNSETIFF reads a valid ifreq that outlives the call
    unsafe { ioctl::attach(tap.as_raw_fd(), &request) }?;
    Ok(tap)
}

fn configure(tap: &File, owner: Option<i32>, persist: bool) -> io::Result<()> {
    #[allow(unsafe_code)] // both take an integer by value
    unsafe {
        if let Some(owner) = owner {
            ioctl::owner(tap.as_raw_fd(), owner)?;
        }
        ioctl::persist(tap.as_raw_fd(), i32::from(persist))?;
    }
    Ok(())
}

fn set_mtu(name: &str, mtu: u32) -> io::Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut request = request(name)?;
    request.ifr_ifru.ifru_mtu = i32::try_from(mtu).map_err(io::Error::other)?;
    #[allow(unsafe_code)] // SIOCSIFMTU reads a valid ifreq that outlives the call
    unsafe { ioctl::set_mtu(any.as_raw_fd(), &request) }?;
    Ok(())
}

fn request(name: &str) -> io::Result<libc::ifreq> {
    let mut wire = [0 as libc::c_char; libc::IFNAMSIZ];
    if name.is_empty() || name.len() >= wire.len() {
        return Err(io::Error::other(format!("{name} is no name of a network interface")));
    }
    for (to, from) in wire.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(libc::ifreq { ifr_name: wire, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_ifindex: 0 } })
}
