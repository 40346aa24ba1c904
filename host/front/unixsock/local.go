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

// Positions and values in the kernel's structures inet_diag_req_v2 and inet_diag_msg (linux/inet_diag.h).
// Offsets count from the end of the netlink message's header.
const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY in linux/sock_diag.h.
	diagRequestSize  = 56
	diagAnswerSize   = 72
	diagState        = 1  // Offset of the socket's state in an answer.
	diagUID          = 64 // Offset of the socket's uid in an answer.
	diagInode        = 68 // Offset of the socket's inode in an answer.
	established      = 1  // The state TCP_ESTABLISHED.
	anyCookie        = 0xffffffff
	tcpStates        = 0xfff // Bit mask of all TCP states.
)

// ErrNotLocal is returned if the other end of a connection is not a socket of this machine, or if that socket
// was closed.
var ErrNotLocal = errors.New("unixsock: the other end of the connection is not an open socket on this machine")

// LocalUsers finds out which local user is at the other end of a TCP connection over loopback. It opens its
// netlink socket in advance, so that look-ups work even when the process has no free file descriptor. It is
// safe for concurrent use.
type LocalUsers struct {
	mu sync.Mutex
	fd int // The netlink socket; -1 after Close.

	sequence uint32
	answer   [4096]byte
}

// NewLocalUsers opens the netlink socket that Of uses.
func NewLocalUsers() (*LocalUsers, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket to look up the owners of sockets: %w", err)
	}
	// The kernel normally answers at once. The timeout makes sure that a missing answer blocks no caller of
	// Of for longer than a second.
	wait := unix.NsecToTimeval(time.Second.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open a netlink socket to look up the owners of sockets: %w", err)
	}
	return &LocalUsers{fd: fd}, nil
}

// Close closes the netlink socket.
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

// Of returns the uid of the user that created the socket at the other end of an accepted TCP connection over
// loopback. local is the address of the accepted end, remote the address of the other end. The uid comes from
// the kernel, as SO_PEERCRED does for UNIX sockets, so the client can't forge it.
func (l *LocalUsers) Of(local, remote netip.AddrPort) (uid int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sequence++
	// The request is for the socket of the other end. For that socket, remote is the source address and local
	// the destination.
	if err := unix.Sendto(l.fd, diagRequest(remote, local, l.sequence), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("look up the owner of a socket: %w", err)
	}
	for {
		n, _, err := unix.Recvfrom(l.fd, l.answer[:], 0)
		if err != nil {
			return 0, fmt.Errorf("look up the owner of a socket: %w", err)
		}
		answer := l.answer[:n]
		if n < unix.NLMSG_HDRLEN || binary.NativeEndian.Uint32(answer[8:]) != l.sequence {
			continue // A late answer to an earlier request that timed out.
		}
		if binary.NativeEndian.Uint16(answer[4:]) != sockDiagByFamily {
			return 0, ErrNotLocal
		}
		if n < unix.NLMSG_HDRLEN+diagAnswerSize {
			return 0, errors.New("look up the owner of a socket: the kernel's answer is too short")
		}
		answer = answer[unix.NLMSG_HDRLEN:]
		if answer[diagState] != established || binary.NativeEndian.Uint32(answer[diagInode:]) == 0 {
			return 0, ErrNotLocal // Without an inode, the kernel reports uid 0 for any user.
		}
		return int(binary.NativeEndian.Uint32(answer[diagUID:])), nil
	}
}

// diagRequest returns the netlink message that asks the kernel for the TCP socket with the given source and
// destination addresses.
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
