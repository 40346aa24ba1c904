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

// The layout of the kernel's struct inet_diag_req_v2 and inet_diag_msg (linux/inet_diag.h), behind the
// header of a netlink message.
const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY of linux/sock_diag.h.
	diagRequestSize  = 56
	diagAnswerSize   = 72
	diagState        = 1  // Where an answer has the state,
	diagUID          = 64 // the uid
	diagInode        = 68 // and the inode.
	established      = 1  // TCP_ESTABLISHED.
	anyCookie        = 0xffffffff
	tcpStates        = 0xfff // All of them.
)

// ErrNotLocal is returned for a connection whose other end is not a socket of this machine, or is none
// any more.
var ErrNotLocal = errors.New("peer: the other end is no socket of this machine")

// LocalUsers tells whose programs are at the other ends of TCP connections over loopback. It holds one
// descriptor, so that it answers when the process has no other left.
type LocalUsers struct {
	mu sync.Mutex
	fd int // A socket of netlink; -1 if there is none.

	sequence uint32
	answer   [4096]byte
}

// NewLocalUsers returns one that can ask the kernel, or the error for which it can't.
func NewLocalUsers() (*LocalUsers, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("ask for sockets' users: %w", err)
	}
	// The kernel answers at once; nobody may be kept waiting if it does not.
	wait := unix.NsecToTimeval(time.Second.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("ask for sockets' users: %w", err)
	}
	return &LocalUsers{fd: fd}, nil
}

// Close gives the descriptor back.
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

// Of returns the uid of who made the other end of a TCP connection over loopback: local is the accepted
// end's address, remote the other one's. The kernel says it, as SO_PEERCRED does for a UNIX socket.
func (l *LocalUsers) Of(local, remote netip.AddrPort) (uid int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sequence++
	// The other end's own view: its address is the source.
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
			continue // Of a question that was given up.
		}
		if binary.NativeEndian.Uint16(answer[4:]) != sockDiagByFamily {
			return 0, ErrNotLocal
		}
		if n < unix.NLMSG_HDRLEN+diagAnswerSize {
			return 0, errors.New("ask for a socket's user: the kernel's answer is too short")
		}
		answer = answer[unix.NLMSG_HDRLEN:]
		if answer[diagState] != established || binary.NativeEndian.Uint32(answer[diagInode:]) == 0 {
			return 0, ErrNotLocal // Nobody has it any more; its uid would be root's.
		}
		return int(binary.NativeEndian.Uint32(answer[diagUID:])), nil
	}
}

// diagRequest asks for the one TCP socket with these addresses.
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
