package apitool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/front/https"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

const usage = `Usage: %[1]s [OPTION ...] MODULE FUNCTION [name=value ...]

Runs one function of %[2]s for an account and prints the answer.

  --user=NAME      the account; on a server with many accounts root must name it
  --output=FORM    yaml (default), json on one line, jsonpretty, or xml
  --input=FORM     key-value (default): the arguments are on the command line;
                   json: one JSON object on standard input contains them
  --fail           exit with status 1 if the function fails
  --help           this help; after a module or a function, the help for it

Values are URI-encoded: + is a space, %%XX a byte. A value of - is read from standard
input, one line each. A value of @FILE is the text of the file, as it is; write \@ or
%%40 for a value that begins with @. Every user of the machine can read a password on
the command line for as long as the command runs, so pass it in another way:

  echo 'the new password' | %[1]s --user=demo Email %[3]s email=user domain=example.com password=-
`

const usageAPI1 = `Usage: cpapi1 [OPTION ...] MODULE FUNCTION [value ...]

Runs one function of API 1 for an account and prints the text that it returns. The
values stand in the order of the function's parameters.

  --user=NAME      the account; on a server with many accounts root must name it
  --output=FORM    text (default), yaml, json, jsonpretty, or xml
  --fail           exit with status 1 if the function fails
  --help           this help; after a module or a function, the help for it

Values are URI-encoded, as for uapi. A value of - is read from standard input, and a
value of @FILE is the text of the file.
`

const usageWHM = `Usage: whmapi1 [OPTION ...] FUNCTION [name=value ...]

Runs one function of WHM API 1 as root and prints the answer.

  --output=FORM    yaml (default), json on one line, or jsonpretty
  --input=FORM     key-value (default) or json, as for uapi
  --fail           exit with status 1 if the function fails
  --help           this help; after a function, the help for it

Values are URI-encoded, as for uapi. A value of - is read from standard input, and a
value of @FILE is the text of the file.
`

func (p program) usage() string {
	switch {
	case p.whm:
		return usageWHM
	case p.api == protocol.API1:
		return usageAPI1
	case p.api == protocol.API2:
		return fmt.Sprintf(usage, p.name, p.api, "passwdpop")
	}
	return fmt.Sprintf(usage, p.name, p.api, "passwd_pop")
}

// moduleHelp and functionHelp are the answer of LiveAPI::list_functions.
type moduleHelp struct {
	Name, Help string
	Functions  []functionHelp
}

type functionHelp struct {
	API                 protocol.API
	Name, Help, Returns string
	Open                int
	Params              []struct {
		Name, Type, Help string
		Required, List   int
	}
}

// described returns the modules that the host serves for the caller. For whmapi1 it returns WHM's functions
// as a single module, without asking the host.
func (o options) described(ctx context.Context, stderr io.Writer) ([]moduleHelp, error) {
	if o.program.whm {
		whm := moduleHelp{Name: "WHM"}
		for _, f := range https.WHMFunctions() {
			h := functionHelp{Name: f.Name, Help: f.Help, Returns: f.Returns}
			for _, p := range f.Params {
				h.Params = append(h.Params, struct {
					Name, Type, Help string
					Required, List   int
				}{p.Name, string(p.Type), p.Help, bit(p.Required), bit(p.List)})
			}
			whm.Functions = append(whm.Functions, h)
		}
		return []moduleHelp{whm}, nil
	}
	c, err := config.Find("")
	if err != nil {
		return nil, err
	}
	answer, err := ask(ctx, c, o.user, protocol.Call{API: protocol.UAPI, Module: "LiveAPI", Func: "list_functions", Args: protocol.Args{Named: map[string]any{}}}, stderr)
	if err != nil {
		return nil, named(c, err)
	}
	var a struct {
		Result struct {
			Data   []moduleHelp
			Errors []string
		}
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, fmt.Errorf("the host's answer can't be read: %w", err)
	}
	if len(a.Result.Errors) > 0 {
		return nil, errors.New(a.Result.Errors[0])
	}
	return a.Result.Data, nil
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// own returns the functions of the program's API.
func (o options) own(m moduleHelp) (out []functionHelp) {
	for _, f := range m.Functions {
		if f.API == o.program.api {
			out = append(out, f)
		}
	}
	return out
}

// showHelp prints the help: of the program with all modules, of a module with its functions, or of a function
// with its parameters.
func (o options) showHelp(ctx context.Context, stdout, stderr io.Writer) error {
	modules, err := o.described(ctx, stderr)
	words := o.words
	if o.program.whm {
		words = append([]string{"WHM"}, words...)
	}
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	switch {
	case len(words) == 0:
		b.WriteString(o.program.usage())
		if err != nil {
			// The host is not needed for the help of the program itself.
			_, _ = fmt.Fprintf(&b, "\nThe modules can't be listed: %s\n", err)
			break
		}
		b.WriteString("\nModules:\n\n")
		for _, m := range modules {
			if len(o.own(m)) > 0 {
				_, _ = fmt.Fprintf(table, "  %s\t%s\n", m.Name, m.Help)
			}
		}
	case err != nil:
		return err
	case len(words) == 1:
		if o.program.whm {
			b.WriteString(o.program.usage() + "\nFunctions:\n\n")
		}
		m, ok := find(modules, words[0])
		if !ok {
			return usageError{errors.New(o.noModule(modules, words[0]))}
		}
		for _, f := range o.own(m) {
			_, _ = fmt.Fprintf(table, "  %s\t%s\n", f.Name, f.Help)
		}
	default:
		m, ok := find(modules, words[0])
		if !ok {
			return usageError{errors.New(o.noModule(modules, words[0]))}
		}
		at := slices.IndexFunc(o.own(m), func(f functionHelp) bool { return f.Name == words[1] })
		if at < 0 {
			return usageError{errors.New(o.noFunction(m, words[1]))}
		}
		writeFunction(&b, table, m.Name, o.own(m)[at])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err = io.WriteString(stdout, b.String())
	return err
}

func writeFunction(b *strings.Builder, table io.Writer, module string, f functionHelp) {
	_, _ = fmt.Fprintf(b, "%s::%s: %s\n", module, f.Name, f.Help)
	if f.Returns != "" {
		_, _ = fmt.Fprintf(b, "Returns: %s\n", f.Returns)
	}
	if len(f.Params) == 0 && f.Open == 0 {
		b.WriteString("It has no parameters.\n")
		return
	}
	b.WriteString("\nParameters (* is required):\n\n")
	for _, p := range f.Params {
		star, kind := "", p.Type
		if p.Required == 1 {
			star = "*"
		}
		if kind == "" {
			kind = string(protocol.TypeString)
		}
		if p.List == 1 {
			kind += ", repeatable"
		}
		_, _ = fmt.Fprintf(table, "  %s%s\t%s\t%s\n", p.Name, star, kind, p.Help)
	}
	if f.Open == 1 {
		_, _ = fmt.Fprint(table, "  ...\t\tfurther arguments\n")
	}
}

func find(modules []moduleHelp, name string) (moduleHelp, bool) {
	for _, m := range modules {
		if m.Name == name {
			return m, true
		}
	}
	return moduleHelp{}, false
}

// noModule returns the message for a module that does not exist, with a similar name if there is one.
func (o options) noModule(modules []moduleHelp, name string) string {
	var names []string
	for _, m := range modules {
		if len(o.own(m)) > 0 {
			names = append(names, m.Name)
		}
	}
	text := fmt.Sprintf("there is no module %.60q", name)
	if near := nearest(name, names); near != "" {
		text += "; did you mean " + near + "?"
	}
	return text
}

// noFunction returns the message for a function that the module m does not have: it names the same function of
// another API, or a similar function.
func (o options) noFunction(m moduleHelp, name string) string {
	if o.program.whm {
		m.Name = "WHM API 1"
	}
	text := fmt.Sprintf("%s has no function %.60q", m.Name, name)
	for _, p := range programs() {
		for _, f := range m.Functions {
			if !p.whm && p.api == f.API && p.name != o.program.name && f.Name == name {
				return fmt.Sprintf("%s; %s has it: %s %s %s", text, p.api, p.name, m.Name, name)
			}
		}
	}
	var names []string
	for _, f := range o.own(m) {
		names = append(names, f.Name)
	}
	if near := nearest(name, names); near != "" {
		text += "; did you mean " + near + "?"
	}
	return text
}

// hint prints similar names if the answer says that the module or the function does not exist.
func (o options) hint(ctx context.Context, call protocol.Call, answer []byte, stderr io.Writer) {
	text := string(answer)
	unknown := []string{"could not find the function", "Failed to load module", "Could not find function", "Undefined subroutine", "Unknown app ("}
	if !slices.ContainsFunc(unknown, func(s string) bool { return strings.Contains(text, s) }) || !reportsFailure(answer) {
		return
	}
	modules, err := o.described(ctx, io.Discard)
	if err != nil {
		return
	}
	name := call.Module
	if o.program.whm {
		name = "WHM"
	}
	message := o.noModule(modules, name)
	if m, ok := find(modules, name); ok {
		if slices.ContainsFunc(o.own(m), func(f functionHelp) bool { return f.Name == call.Func }) {
			return
		}
		message = o.noFunction(m, call.Func)
	}
	_, _ = fmt.Fprintf(stderr, "%s: %s\n", o.program.name, message)
}

// nearest returns the name that is most similar to the given name: they differ only in case and
// underscores, or in at most about a third of their letters. If no name is similar, nearest returns "".
func nearest(given string, names []string) string {
	best, least := "", len(given)/3+2
	for _, name := range names {
		if plain(name) == plain(given) {
			return name
		}
		if d := distance(plain(given), plain(name)); d < least {
			best, least = name, d
		}
	}
	return best
}

func plain(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "") }

// distance returns the number of letters to insert, remove or replace that turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before + bit(a[i] != b[j])
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// completions prints the words that the shell completes, one on each line.
func (o options) completions(ctx context.Context, stdout, stderr io.Writer) error {
	var words []string
	switch o.complete {
	case "accounts":
		c, err := config.Find("")
		if err != nil {
			return err
		}
		if c.Mode == config.Server {
			d := account.NewDirectory(daemon.Sources(c))
			_, _ = d.Reload() // Accounts that can't be read are not offered.
			words = d.Names()
		} else if a, err := daemon.Account(c); err == nil {
			words = []string{a.Name}
		}
	case "modules", "functions":
		modules, err := o.described(ctx, stderr)
		if err != nil {
			return err
		}
		for _, m := range modules {
			if own := o.own(m); o.complete == "modules" && len(own) > 0 {
				words = append(words, m.Name)
			} else if o.complete == "functions" && (o.program.whm || len(o.words) > 0 && m.Name == o.words[0]) {
				for _, f := range own {
					words = append(words, f.Name)
				}
			}
		}
	}
	for _, word := range words {
		if _, err := fmt.Fprintln(stdout, word); err != nil {
			return err
		}
	}
	return nil
}
