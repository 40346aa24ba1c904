package isolate

import (
	"fmt"
	"math"
	"syscall"

	"github.com/liveapid/liveapid/protocol"
)

// MinTenantID is the lowest uid and gid of an account in server mode.
const MinTenantID = 500

// Credential returns the credential of an account's worker in server mode: the uid and gid of the account,
// without supplementary groups. It rejects uids and gids that no account may have. All worker credentials
// must be created by this function or by HelperCredential, because a zero syscall.Credential would run the
// child as root.
func Credential(account protocol.Account) (*syscall.Credential, error) {
	return credential("account "+account.Name, account.UID, account.GID, MinTenantID)
}

// HelperCredential returns the credential of a plugin's helper, which runs as a system user of its own.
func HelperCredential(helper protocol.Account) (*syscall.Credential, error) {
	return credential("helper "+helper.Name, helper.UID, helper.GID, 1)
}

func credential(who string, uid, gid, least int) (*syscall.Credential, error) {
	for _, id := range []struct {
		name  string
		value int
	}{{"uid", uid}, {"gid", gid}} {
		if id.value < least || id.value > math.MaxInt32-1 || id.value == 65534 {
			return nil, fmt.Errorf("%s: %s %d: must be at least %d, below 2^31-1 and not 65534", who, id.name, id.value, least)
		}
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{}}, nil
}
