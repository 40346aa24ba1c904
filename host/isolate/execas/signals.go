package execas

import (
	"syscall"
	"unsafe"
)

// defaultAction sets a signal's action to SIG_DFL without the Go runtime, which the program is about to
// replace.
func defaultAction(number int) error {
	var action kernelAction
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(number), uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
