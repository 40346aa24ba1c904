package unixsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The layout of the kernel's structures inet_diag_req_v2 and inet_diag_msg (linux/inet_diag.h), after the
// header of a netlink message.
const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY of linux/sock_diag.h.
	diagRequestSize  = 56
	diagAnswerSize   = 72
	diagState        = 1  // Offset of the state in an answer.
	diagUID          = 64 // Offset of the uid.
	diagInode        = 68 // Offset of the inode.
	established      = 1  // TCP_ESTABLISHED.
	anyCookie        = 0xffffffff
	tcpStates        = 0xfff // All states.
)

// ErrNotLocal is returned for a connection if its other end is not, or no longer, a socket of this machine.
var ErrNotLocal = errors.New("unixsock: the other end is not a socket of this machine")

// LocalUsers finds the users at the other ends of TCP connections over loopback. It keeps a descriptor open,
// so that it works even if the process has no free descriptor.
type LocalUsers struct {
	mu sync.Mutex
	fd int // A netlink socket; -1 when closed.

	sequence uint32
	answer   [4096]byte
}

// NewLocalUsers opens the netlink socket.
func NewLocalUsers() (*LocalUsers, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("ask for sockets' users: %w", err)
	}
	// The kernel answers at once. If it does not, nobody may have to wait.
	wait := unix.NsecToTimeval(time.Second.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("ask for sockets' users: %w", err)
	}
	return &LocalUsers{fd: fd}, nil
}

// Close closes the socket.
func (l *LocalUsers) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	fd := l.fd
	l.fd = -1
	if fd < 0 {
		return nil
	}
	return unix.Close(fd)
}

// Of returns the uid of the user that made the other end of a TCP connection over loopback: local is the
// address of the accepted end, remote the address of the other end. The kernel knows it, as with SO_PEERCRED
// for a UNIX socket.
func (l *LocalUsers) Of(local, remote netip.AddrPort) (uid int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sequence++
	// From the view of the other end: its address is the source.
	if err := unix.Sendto(l.fd, diagRequest(remote, local, l.sequence), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("ask for a socket's user: %w", err)
	}
	for {
		n, _, err := unix.Recvfrom(l.fd, l.answer[:], 0)
		if err != nil {
			return 0, fmt.Errorf("ask for a socket's user: %w", err)
		}
		answer := l.answer[:n]
		if n < unix.NLMSG_HDRLEN || binary.NativeEndian.Uint32(answer[8:]) != l.sequence {
			continue // An answer to an earlier question that timed out.
		}
		if binary.NativeEndian.Uint16(answer[4:]) != sockDiagByFamily {
			return 0, ErrNotLocal
		}
		if n < unix.NLMSG_HDRLEN+diagAnswerSize {
			return 0, errors.New("ask for a socket's user: the kernel's answer is too short")
		}
		answer = answer[unix.NLMSG_HDRLEN:]
		if answer[diagState] != established || binary.NativeEndian.Uint32(answer[diagInode:]) == 0 {
			return 0, ErrNotLocal // The socket has no owner any more; its uid would be reported as root's.
		}
		return int(binary.NativeEndian.Uint32(answer[diagUID:])), nil
	}
}

// diagRequest asks for the TCP socket with these addresses.
func diagRequest(source, destination netip.AddrPort, sequence uint32) []byte {
	b := make([]byte, unix.NLMSG_HDRLEN+diagRequestSize)
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(b[8:], sequence)
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
