package account

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// cPanel's documentation names the directory, with a file for each name, and the limits. API 2 and older
// plugins call NVData; UAPI documents the same data as Personalization.
const (
	nvdataDir = ".cpanel/nvdata"
	maxName   = 128  // Bytes.
	maxValue  = 2048 // Bytes.
	maxNames  = 100  // In one call.
	maxStored = 1000 // Names of an account.
)

func nvdataFunctions() []sdk.Function {
	names := protocol.Param{Name: "names", Required: true, Help: "The names, separated by |."}
	var all []sdk.Function
	for _, api := range []protocol.API{protocol.API2, protocol.UAPI} {
		set := describe(api, "set", "Store values. Each name is also an argument, which contains the value.", "A record with set for each name.", true, names)
		set.Open = true
		all = append(all,
			sdk.Function{Function: describe(api, "get", "Read values.", "A record with name and value for each name.", false, names), Do: nvdataGet},
			sdk.Function{Function: set, Do: nvdataSet})
	}
	return all
}

func personalizationFunctions() []sdk.Function {
	return []sdk.Function{
		{
			Function: describe(protocol.UAPI, "get", "Read values.", "An object: for each name, value, success and reason.", false,
				protocol.Param{Name: "names", Type: protocol.TypeAny, Required: true, List: true, Help: "The names, as a list."}),
			Do: personalizationGet,
		},
		{
			Function: describe(protocol.UAPI, "set", "Store values.", "An object: for each name, value, success and reason.", true,
				protocol.Param{Name: "personalization", Type: protocol.TypeAny, Required: true, Help: "An object of names and values."}),
			Do: personalizationSet,
		},
	}
}

func nvdataGet(_ context.Context, call *sdk.Call) (any, error) {
	names, err := splitNames(call.String("names"))
	if err != nil {
		return nil, err
	}
	home, err := openHome(call)
	if err != nil {
		return nil, err
	}
	defer func() { _ = home.Close() }()
	out := make([]any, 0, len(names))
	for _, name := range names {
		value, _, err := readValue(home, name)
		if err != nil {
			return nil, failure(err, "The values could not be read.")
		}
		out = append(out, map[string]any{"name": name, "value": value})
	}
	return out, nil
}

func nvdataSet(_ context.Context, call *sdk.Call) (any, error) {
	names, err := splitNames(call.String("names"))
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(names))
	for _, name := range names {
		if values[name], err = textOf(name, call.Value(name)); err != nil {
			return nil, err
		}
	}
	if err := store(call, names, values); err != nil {
		return nil, err
	}
	out := make([]any, 0, len(names))
	for _, name := range names {
		out = append(out, map[string]any{"set": name})
	}
	return out, nil
}

func personalizationGet(_ context.Context, call *sdk.Call) (any, error) {
	list, _ := call.Value("names").([]any)
	names := make([]string, 0, len(list))
	for _, item := range list {
		name, ok := item.(string)
		if !ok {
			return nil, protocol.NewError(protocol.KindInvalid, "The ‘names’ argument must be a list of names.")
		}
		names = append(names, name)
	}
	if err := checkNames("names", names); err != nil {
		return nil, err
	}
	home, err := openHome(call)
	if err != nil {
		return nil, err
	}
	defer func() { _ = home.Close() }()
	out := make(map[string]any, len(names))
	for _, name := range names {
		value, found, err := readValue(home, name)
		if err != nil {
			return nil, failure(err, "The values could not be read.")
		}
		record := map[string]any{"value": nil, "success": int64(1), "reason": "OK"}
		if found {
			record["value"] = value
		}
		out[name] = record
	}
	return map[string]any{"personalization": out}, nil
}

func personalizationSet(_ context.Context, call *sdk.Call) (any, error) {
	object, ok := call.Value("personalization").(map[string]any)
	if !ok || len(object) == 0 {
		return nil, protocol.NewError(protocol.KindInvalid, "The ‘personalization’ argument must be an object of names and values.")
	}
	var names []string
	values := make(map[string]string, len(object))
	for name, value := range object {
		text, err := textOf(name, value)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
		values[name] = text
	}
	if err := checkNames("personalization", names); err != nil {
		return nil, err
	}
	if err := store(call, names, values); err != nil {
		return nil, err
	}
	out := make(map[string]any, len(names))
	for _, name := range names {
		out[name] = map[string]any{"value": values[name], "success": int64(1), "reason": "OK"}
	}
	return map[string]any{"personalization": out}, nil
}

// splitNames returns the names in a text of the form a|b.
func splitNames(text string) ([]string, error) {
	var names []string
	for _, name := range strings.Split(text, "|") {
		if name != "" {
			names = append(names, name)
		}
	}
	return names, checkNames("names", names)
}

// checkNames returns an error unless all names, which come from the given argument, may be the name of a file:
// letters, digits and the characters _, -, ., : and @, but no dot at the beginning.
func checkNames(argument string, names []string) error {
	if len(names) == 0 {
		return protocol.Missing(argument)
	}
	if len(names) > maxNames {
		return protocol.NewError(protocol.KindInvalid, "The ‘"+argument+"’ argument has too many names: at most "+strconv.Itoa(maxNames)+" are allowed.")
	}
	for _, name := range names {
		valid := name != "" && len(name) <= maxName && name[0] != '.'
		for _, c := range []byte(name) {
			letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
			valid = valid && (letter || strings.IndexByte("_-.:@", c) >= 0)
		}
		if !valid {
			return protocol.NewError(protocol.KindInvalid, "The ‘"+argument+"’ argument contains an invalid name, “"+protocol.Clip(name, 60)+
				"”: a name has at most "+strconv.Itoa(maxName)+" letters, digits and the characters _ - . : @, and does not begin with a dot.")
		}
	}
	return nil
}

// textOf returns the value to store under name.
func textOf(name string, value any) (string, error) {
	text, ok := value.(string)
	if number, isNumber := value.(protocol.Number); isNumber {
		text, ok = string(number), true
	}
	switch {
	case value == nil:
		return "", protocol.Missing(name)
	case !ok:
		return "", protocol.NewError(protocol.KindInvalid, "The ‘"+protocol.Clip(name, 60)+"’ argument must be text.")
	case len(text) > maxValue:
		return "", protocol.NewError(protocol.KindInvalid, "The ‘"+protocol.Clip(name, 60)+"’ argument may have at most "+strconv.Itoa(maxValue)+" bytes.")
	}
	return text, nil
}

// openHome opens the account's home. Names below it can't lead out of it.
func openHome(call *sdk.Call) (*os.Root, error) {
	home, err := os.OpenRoot(call.Account.Home)
	if err != nil {
		return nil, failure(err, "The account's home directory can't be opened.")
	}
	return home, nil
}

// failure returns the error for a failed operation on a file. The cause is only written to the log.
func failure(err error, message string) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		message = "The disk, or the account's quota, is full. Nothing was changed; free some space and try again."
	}
	return &protocol.Error{Kind: protocol.KindFailed, Message: message, Err: err}
}

// readValue returns the value of name, and whether it exists.
func readValue(home *os.Root, name string) (value string, found bool, err error) {
	f, err := home.OpenFile(path.Join(nvdataDir, name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", false, fmt.Errorf("%s/%s is not a regular file", nvdataDir, name)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxValue))
	return string(text), true, err
}

// store writes values, each completely or not at all. If a value can't be written, those before it stay.
func store(call *sdk.Call, names []string, values map[string]string) error {
	home, err := openHome(call)
	if err != nil {
		return err
	}
	defer func() { _ = home.Close() }()
	if err := home.MkdirAll(nvdataDir, 0o700); err != nil {
		return failure(err, "The directory for the values can't be created. Nothing was changed.")
	}
	dir, err := home.OpenRoot(nvdataDir)
	if err != nil {
		return failure(err, "The directory for the values can't be opened. Nothing was changed.")
	}
	defer func() { _ = dir.Close() }()
	if err := roomFor(dir, names); err != nil {
		return err
	}
	for i, name := range names {
		if err := replace(dir, name, values[name]); err != nil {
			if i > 0 {
				return failure(err, "The values could not all be stored; those before “"+name+"” were.")
			}
			return failure(err, "The values could not be stored. Nothing was changed.")
		}
	}
	return nil
}

// roomFor returns an error if the account would have more values than it may have. It also removes temporary
// files that an interrupted call has left; those of running calls are newer than leftoverAge.
func roomFor(dir *os.Root, names []string) error {
	list, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return failure(err, "The values could not be read. Nothing was changed.")
	}
	have := make(map[string]bool, len(list))
	for _, e := range list {
		if strings.HasPrefix(e.Name(), temporary) {
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > leftoverAge {
				_ = dir.Remove(e.Name())
			}
			continue
		}
		have[e.Name()] = true
	}
	for _, name := range names {
		have[name] = true
	}
	if len(have) > maxStored {
		return protocol.NewError(protocol.KindFailed, "The account has "+strconv.Itoa(maxStored)+" values, which is the limit. Nothing was changed.")
	}
	return nil
}

// leftoverAge is the age from which a temporary file belongs to no running call any more.
const leftoverAge = 10 * time.Minute

// temporary is the beginning of the names of temporary files; no value has such a name.
const temporary = ".liveapid-"

// replace writes a file completely or not at all.
func replace(dir *os.Root, name, text string) (err error) {
	temp := temporary + rand.Text()[:10]
	f, err := dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = dir.Remove(temp)
		}
	}()
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = dir.Rename(temp, name)
	}
	return err
}
