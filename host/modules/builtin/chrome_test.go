package builtin_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/modules/builtin"
	"github.com/liveapid/liveapid/protocol"
)

func TestChrome(t *testing.T) {
	modules, err := builtin.Chrome{}.Modules(t.Context(), protocol.Account{})
	require.NoError(t, err)
	require.NoError(t, modules[0].Validate())
	get := func(title, key string) map[string]any {
		result, err := builtin.Chrome{}.Call(t.Context(), host.Request{Call: protocol.Call{
			Args: protocol.Args{Named: map[string]any{"page_title": title, "app_key": key}},
		}})
		require.NoError(t, err)
		return result.Data.(map[string]any)
	}
	page := get("Mail & <more>", `a" onload="x`)
	require.Contains(t, page["header"], "<title>Mail &amp; &lt;more&gt;</title>")
	require.Contains(t, page["header"], `<body class="a&#34; onload=&#34;x">`)
	require.Contains(t, page["header"], "<h1>Mail &amp; &lt;more&gt;</h1>")
	require.Equal(t, "</main>\n</body>\n</html>\n", page["footer"])
	require.NotContains(t, get("", "")["header"], "<h1>")
}
