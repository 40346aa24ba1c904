package daemon

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/worker"
)

// Each option of a plugin is part of its fingerprint: changing any option replaces the plugin.
func TestFingerprint(t *testing.T) {
	base := worker.PluginOptions{Path: "/p", Args: []string{"a"}, SHA256: []byte{1}, Settings: map[string]any{"k": "v"}, Serves: []string{"M"}, Source: "/s", Stamp: "1"}
	require.Equal(t, fingerprint(base), fingerprint(base))
	for i := range reflect.TypeOf(base).NumField() {
		changed := base
		reflect.ValueOf(&changed).Elem().Field(i).SetZero()
		require.NotEqual(t, fingerprint(base), fingerprint(changed), reflect.TypeOf(base).Field(i).Name)
	}
	require.Empty(t, fingerprint(worker.PluginOptions{Settings: map[string]any{"f": func() {}}}))
}

// Changing a key that a reload does not apply is reported.
func TestRestartKeys(t *testing.T) {
	old := config.Default()
	require.Empty(t, restartKeys(old, config.Default()))
	for i := range reflect.TypeOf(*old).NumField() {
		field := reflect.TypeOf(*old).Field(i)
		key := field.Tag.Get("toml")
		if key == "" {
			continue
		}
		c := config.Default()
		value := reflect.ValueOf(c).Elem().Field(i)
		switch value.Kind() {
		case reflect.String:
			value.SetString("other")
		case reflect.Int:
			value.SetInt(12345)
		case reflect.Slice:
			value.Set(reflect.Append(value, reflect.Zero(value.Type().Elem())))
		case reflect.Struct:
			continue // The keys of web and limits are tested below.
		default:
			t.Fatalf("%s has a kind that this test does not know", key)
		}
		want := []string{key}
		for _, r := range reloadable {
			if r == key {
				want = nil
			}
		}
		require.Equal(t, want, restartKeys(old, c), key)
	}
	c := config.Default()
	c.Web.State = "/x"
	require.Equal(t, []string{"web"}, restartKeys(old, c))
	c = config.Default()
	c.Limits.Calls, c.Limits.AccountCalls, c.Limits.AccountRate = 1, 2, 3
	require.Empty(t, restartKeys(old, c))
	c.Limits.Idle = config.Duration(time.Second)
	require.Len(t, restartKeys(old, c), 1)
}
