package livepage

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
)

// A call in the list contains no password, neither in its arguments nor in its answer.
func TestSeenCall(t *testing.T) {
	call := protocol.Call{API: protocol.UAPI, Module: "M", Func: "f", Args: protocol.Args{Named: map[string]any{"email": "user", "password": "c4n4ry", "data": map[string]any{"password": "c4n4ry"}}}}
	seen := seenCall(call, &protocol.Result{Data: []any{"It is c4n4ry."}, Messages: []string{"c4n4ry"}, Metadata: map[string]any{"token": "x"}}, time.Second)
	text, err := json.Marshal(seen)
	require.NoError(t, err)
	require.NotContains(t, string(text), "c4n4ry")
	require.Contains(t, string(text), `"email":"user"`)
	require.Equal(t, "one record", seen.Result)
	seen = seenCall(call, protocol.Failed(protocol.NewError(protocol.KindFailed, "Not c4n4ry.")), time.Second)
	require.Equal(t, "Not [masked].", seen.Result)
	seen = seenCall(call, &protocol.Result{Data: strings.Repeat("x", maxAnswer)}, time.Second)
	require.Equal(t, "The answer has 262155 bytes. The list shows at most 262144.", seen.Answer)
}

// The script of dev is added where a browser runs it, whatever the page begins with and wherever it ended.
func TestScriptPlace(t *testing.T) {
	for page, at := range map[string]string{
		"<!DOCTYPE html><html lang=en><head><title>x": "<!DOCTYPE html><html lang=en><head>", "\xef\xbb\xbf <!-- a --><!doctype html>\n<p>": "\xef\xbb\xbf <!-- a --><!doctype html>\n",
		"<p>half <textarea>": "", "<HTML><HEAD class=a>": "<HTML><HEAD class=a>", "": "", "<!-- never closed": "", "<header>": "", "<html5>": "",
	} {
		require.Equal(t, at, page[:scriptPlace([]byte(page))], page)
	}
}

// A program that dev does not run is refused, under every name that editors give to its copies.
func TestIsProgram(t *testing.T) {
	dir := t.TempDir()
	for name, program := range map[string]bool{
		"a.pm": true, "a.pl": true, "a.PHP~": true, "a.php.bak": true, ".a.php.swp": true, "a.live.php_old": true, "a.php-old": true, "a.inc": true, "a.cgi": true, "a.py": true,
		"a.css": false, "a.pl.js": false, "php.css": false, "a.php.txt": true, "notes.txt": false, "база.pl": true, "_.pl": true, "photo.png": false, "README": false,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o644))
		d, err := NewDev(&Runner{}, dir, nil)
		require.NoError(t, err)
		require.Equal(t, program, d.isProgram(name), name)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "script"), []byte("<?php echo 1;"), 0o644))
		require.True(t, d.isProgram("script"), "the content decides, too")
		require.NoError(t, d.Close())
	}
}

func TestKindOf(t *testing.T) {
	for name, want := range map[string]Kind{
		"a.live.php": PHP, "a.livephp": PHP, "a.live.pl": Perl, "a.livepl": Perl, "a.php": PHP, "A.LIVE.PHP": PHP, "a.pl": None, "a.html": None, "": None, "livephp": None,
	} {
		require.Equal(t, want, KindOf(name), name)
	}
}
