// Package become gives the running process, as root's tools are, to an account for
// good. It is the one place that changes the process's own uid.
package become

import (
	"fmt"
	"syscall"

	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/protocol"
)

// Account changes all threads of the process to a's uid and gid, without further
// groups. There is no way back.
func Account(a protocol.Account) error {
	credential, err := worker.Credential(a)
	if err != nil {
		return err
	}
	if err := syscall.Setgroups([]int{int(credential.Gid)}); err != nil {
		return fmt.Errorf("become %s: groups: %w", a.Name, err)
	}
	if err := syscall.Setresgid(a.GID, a.GID, a.GID); err != nil {
		return fmt.Errorf("become %s: gid: %w", a.Name, err)
	}
	if err := syscall.Setresuid(a.UID, a.UID, a.UID); err != nil {
		return fmt.Errorf("become %s: uid: %w", a.Name, err)
	}
	return nil
}
