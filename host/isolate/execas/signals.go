package execas

import (
	"syscall"
	"unsafe"
)

// defaultAction sets the action of a signal to SIG_DFL with a direct system call. The Go runtime does not
// notice the change, but the program is about to replace the runtime anyway.
func defaultAction(number int) error {
	var action kernelAction
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(number), uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
