package https

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/front/https/request"
)

// T50: a request counts as a stranger's if nobody looks at its credentials, whatever they are.
func TestT50_WhoIsAStranger(t *testing.T) {
	for _, c := range []struct {
		method, path, header, value string
		stranger                    bool
	}{
		{"GET", "/execute/Email/list_pops", "", "", true},
		{"GET", "/execute/Email/list_pops", "Cookie", "cpsession=x", true},
		{"GET", "/execute/Email/list_pops", "Authorization", "x", false},
		{"POST", "/json-api/cpanel", "Authorization", "x", false},
		{"GET", "/cpsess0123456789/", "Authorization", "x", false},
		{"GET", "/login", "Authorization", "x", true},
		{"POST", "/login/?login_only=1", "Authorization", "x", true},
		{"GET", "/assets/page.css", "Authorization", "x", true},
		{"GET", "/execute/Email", "Authorization", "x", true},
		{"PUT", "/execute/Email/list_pops", "Authorization", "x", true},
	} {
		r := httptest.NewRequest(c.method, "https://localhost"+c.path, nil)
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		q := &exchange{front: &Front{origin: http.NewCrossOriginProtection()}, r: r, path: request.ParsePath(r.URL.Path)}
		require.Equal(t, c.stranger, q.stranger(), "%+v", c)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		require.True(t, q.stranger(), "from another site: %+v", c)
	}
}

// T38: only a program that is not a browser, not even an old one, counts as a script.
func TestT38_WhoIsAScript(t *testing.T) {
	r := httptest.NewRequest("GET", "https://localhost/", nil)
	q := &exchange{r: r}
	r.Header.Set("User-Agent", "curl/8")
	require.True(t, q.byScript())
	for _, name := range []string{"Origin", "Referer", "Sec-Fetch-Mode", "Accept-Language", "Upgrade-Insecure-Requests"} {
		r.Header.Set(name, "x")
		require.False(t, q.byScript(), name)
		r.Header.Del(name)
	}
}
