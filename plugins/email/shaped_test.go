package email_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/listing"
)

// A list that the plugin sorts or filters by a column is the list that the host would make of all records, although
// the plugin does not measure the mail of all mailboxes.
func TestListsShapedByThePlugin(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		w.must(protocol.UAPI, "add_pop", args{"email": name, "password": password, "quota": strconv.Itoa(i % 3)})
	}
	w.must(protocol.UAPI, "suspend_login", args{"email": "b@example.com"})
	w.must(protocol.UAPI, "suspend_incoming", args{"email": "d@example.com"})
	for function, columns := range map[string][]string{
		"list_pops":           {"email", "login", "suspended_login", "suspended_incoming"},
		"list_pops_with_disk": {"user", "domain", "email", "login", "diskquota", "txtdiskquota", "_diskquota", "humandiskquota", "suspended_login", "suspended_incoming", "suspended_outgoing", "has_suspended", "hold_outgoing", "_diskused", "diskused"},
	} {
		arguments := args{}
		if function == "list_pops_with_disk" {
			arguments["get_restrictions"] = "1"
		}
		for _, column := range columns {
			for _, shape := range []map[string]string{
				{"sort": "1", "sort_column": column, "sort_reverse": "1"},
				{"filter": "1", "filter_column": column, "filter_type": "ne", "filter_term": "0"},
				{"filter": "1", "filter_column": column, "filter_type": "contains", "filter_term": "e", "paginate": "1", "paginate_size": "2"},
			} {
				options, invalid := listing.Parse(listing.Dialect{API: protocol.UAPI, Name: func(name string) string { return name }}, shape)
				require.Nil(t, invalid)
				want := w.call(protocol.UAPI, function, arguments)
				require.NoError(t, options.Apply(t.Context(), want, nil))
				got := w.shaped(protocol.UAPI, function, arguments, shape)
				require.True(t, got.Shaped)
				require.Equal(t, want.Data, got.Data, "%s: %v", function, shape)
				require.Equal(t, want.Paginate, got.Paginate)
			}
		}
	}
}

// An error of a list names the domain, or the mailbox, that it belongs to.
func TestListErrorsNameTheDomain(t *testing.T) {
	w := newWorld(t)
	w.must(protocol.UAPI, "add_pop", args{"email": "a@example.net", "password": password})
	mail := filepath.Join(w.account.Home, "mail/example.net/a")
	require.NoError(t, os.RemoveAll(mail))
	require.NoError(t, os.Symlink("/etc", mail))
	require.Contains(t, w.refused(protocol.UAPI, "list_pops_with_disk", nil), "“example.net” is not as it should be. The mail could not be measured")

	shadow := filepath.Join(w.account.Home, "etc/example.net/shadow")
	require.NoError(t, os.Rename(shadow, shadow+".old"))
	require.NoError(t, os.Symlink(shadow+".old", shadow))
	for _, function := range []string{"list_pops", "list_pops_with_disk", "count_pops"} {
		require.Contains(t, w.refused(protocol.UAPI, function, nil), "“example.net” is not as it should be.", function)
	}
}
