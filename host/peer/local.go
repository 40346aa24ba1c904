package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// The layout of the kernel's struct inet_diag_req_v2 and inet_diag_msg (linux/inet_diag.h), behind the
// header of a netlink message.
const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY of linux/sock_diag.h.
	diagRequestSize  = 56
	diagAnswerSize   = 72
	diagUID          = 64 // Where an answer has the uid.
	anyCookie        = 0xffffffff
	tcpStates        = 0xfff // All of them.
)

// ErrNotLocal is returned for a connection whose other end is not a socket of this machine, or is none
// any more.
var ErrNotLocal = errors.New("peer: the other end is no socket of this machine")

// LocalUser returns the uid of who made the other end of a TCP connection over loopback: local is the
// accepted end's address, remote the other one's. The kernel says it, as SO_PEERCRED does for a UNIX
// socket.
func LocalUser(local, remote netip.AddrPort) (uid int, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, fmt.Errorf("ask for a socket's user: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	wait := unix.NsecToTimeval(time.Second.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return 0, fmt.Errorf("ask for a socket's user: %w", err)
	}
	// The other end's own view: its address is the source.
	if err := unix.Sendto(fd, diagRequest(remote, local), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("ask for a socket's user: %w", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return 0, fmt.Errorf("ask for a socket's user: %w", err)
	}
	if answer = answer[:n]; n < unix.NLMSG_HDRLEN || binary.NativeEndian.Uint16(answer[4:]) != sockDiagByFamily {
		return 0, ErrNotLocal
	}
	if len(answer) < unix.NLMSG_HDRLEN+diagAnswerSize {
		return 0, errors.New("ask for a socket's user: the kernel's answer is too short")
	}
	return int(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN+diagUID:])), nil
}

// diagRequest asks for the one TCP socket with these addresses.
func diagRequest(source, destination netip.AddrPort) []byte {
	b := make([]byte, unix.NLMSG_HDRLEN+diagRequestSize)
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	r := b[unix.NLMSG_HDRLEN:]
	r[0], r[1] = unix.AF_INET6, unix.IPPROTO_TCP
	if source.Addr().Is4() {
		r[0] = unix.AF_INET
	}
	binary.NativeEndian.PutUint32(r[4:], tcpStates)
	binary.BigEndian.PutUint16(r[8:], source.Port())
	binary.BigEndian.PutUint16(r[10:], destination.Port())
	copy(r[12:28], source.Addr().AsSlice())
	copy(r[28:44], destination.Addr().AsSlice())
	binary.NativeEndian.PutUint32(r[48:], anyCookie)
	binary.NativeEndian.PutUint32(r[52:], anyCookie)
	return b
}
