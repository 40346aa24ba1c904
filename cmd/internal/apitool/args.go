package apitool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/strictjson"
)

// options are the parsed options and words of a command line.
type options struct {
	user   string
	output string
	input  string
	help   bool
	words  []string // Module, function, and name=value arguments.
}

// parseOptions parses a command line. Options may stand before or after the other words. If a word begins
// with - but is not a known option, parseOptions returns an error.
func parseOptions(program string, args []string) (options, error) {
	var o options
	flags := pflag.NewFlagSet(program, pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.user, "user", "", "")
	flags.StringVar(&o.output, "output", "yaml", "")
	flags.StringVar(&o.input, "input", "", "")
	flags.BoolVarP(&o.help, "help", "h", false, "")
	if err := flags.Parse(args); err != nil {
		// The error does not quote the word: the word may be part of a password that contains a space.
		return o, errors.New("invalid option: an argument that begins with - is not a known option, or its value is missing; quote values that contain spaces")
	}
	o.words = flags.Args()
	switch o.output {
	case "json", "jsonpretty", "yaml", "xml":
	default:
		return o, fmt.Errorf("--output: %q is not one of json, jsonpretty, yaml and xml", o.output)
	}
	if o.input != "" && o.input != "json" {
		return o, fmt.Errorf("--input: the format %q is not supported; the only format is json", o.input)
	}
	return o, nil
}

// call returns the call that the command line describes. If an argument has the form name=-, its value is the
// next line of stdin. With --input=json, stdin contains a JSON object of arguments, and the command line may
// contain further arguments. Passwords should be passed on stdin, because every user of the machine can read
// the command lines of processes.
func (o options) call(api protocol.API, stdin io.Reader) (protocol.Call, error) {
	if len(o.words) < 2 {
		return protocol.Call{}, errors.New("the module or the function is missing; name both")
	}
	call := protocol.Call{API: api, Module: o.words[0], Func: o.words[1]}
	args := make(map[string]any)
	if o.input == "json" {
		named, err := readJSON(stdin)
		if err != nil {
			return call, fmt.Errorf("standard input: %w", err)
		}
		args = named
	}
	lines := bufio.NewReader(stdin)
	for _, word := range o.words[2:] {
		name, raw, ok := strings.Cut(word, "=")
		if name = decode(name); !ok || name == "" {
			// The error does not quote the word: the word may be part of a password that contains a space.
			return call, errors.New("an argument does not have the form name=value; quote values that contain spaces")
		}
		value := decode(raw)
		if raw == "-" {
			if o.input == "json" {
				return call, fmt.Errorf("%s=- can't be combined with --input=json, because both read standard input", name)
			}
			line, err := readLine(lines)
			if err != nil {
				return call, fmt.Errorf("%s=-: %w", name, err)
			}
			value = line
		}
		if err := add(args, name, value); err != nil {
			return call, err
		}
	}
	call.Args = protocol.Args{Named: args}
	return call, nil
}

// add adds an argument to args. If args already contains a value for name, the values become a list. If the
// existing value comes from the JSON input and is a number, boolean or object, add returns an error.
func add(args map[string]any, name, value string) error {
	switch had := args[name].(type) {
	case nil:
		args[name] = value
	case string:
		args[name] = []any{had, value}
	case []any:
		args[name] = append(had, value)
	default:
		return fmt.Errorf("%s: the argument is also in the JSON, with a value that is neither a string nor a list", name)
	}
	return nil
}

func readJSON(r io.Reader) (map[string]any, error) {
	raw, err := io.ReadAll(io.LimitReader(r, protocol.MaxFrame+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > protocol.MaxFrame {
		return nil, fmt.Errorf("the JSON has more than %d bytes", protocol.MaxFrame)
	}
	value, err := strictjson.Decode(raw)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("the JSON must be an object of argument names and values")
	}
	return object, nil
}

// readLine reads a line and returns the line without its line ending. The last line may lack a line ending.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		c, err := r.ReadByte()
		if errors.Is(err, io.EOF) && len(line) > 0 || err == nil && c == '\n' {
			break
		}
		if errors.Is(err, io.EOF) {
			return "", errors.New("standard input ended before the line with this argument's value")
		}
		if err != nil {
			return "", err
		}
		if len(line) == protocol.MaxFrame {
			return "", fmt.Errorf("the line is longer than %d bytes", protocol.MaxFrame)
		}
		line = append(line, c)
	}
	return strings.TrimSuffix(string(line), "\r"), nil
}

// decode decodes the name or value of an argument: '+' becomes a space and %XX a byte; a '%' without two
// hexadecimal digits after it stays as it is. Measurements of cPanel's commands show these rules.
func decode(s string) string {
	if !strings.ContainsAny(s, "+%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
