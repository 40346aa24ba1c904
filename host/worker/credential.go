package worker

import (
	"fmt"
	"math"
	"syscall"

	"github.com/liveapid/liveapid/protocol"
)

// MinTenantID is the lowest uid and gid that an account may have in server mode.
const MinTenantID = 500

// Credential returns what a worker of account runs as in server mode: the account's
// uid and gid, and no further group. It alone makes worker credentials; a zero value
// of syscall.Credential would run the child as root.
func Credential(account protocol.Account) (*syscall.Credential, error) {
	for _, id := range []struct {
		name  string
		value int
	}{{"uid", account.UID}, {"gid", account.GID}} {
		if id.value < MinTenantID || id.value > math.MaxInt32-1 || id.value == 65534 {
			return nil, fmt.Errorf("account %s: %s %d: must be at least %d, below 2^31-1 and not 65534", account.Name, id.name, id.value, MinTenantID)
		}
	}
	return &syscall.Credential{Uid: uint32(account.UID), Gid: uint32(account.GID), Groups: []uint32{}}, nil
}
