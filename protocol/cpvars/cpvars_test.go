package cpvars_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/cpvars"
)

func lookup(name, key string) string {
	return map[string]string{
		"user": "alice", "homedir": "/home/alice", "domain": "a.example", "zero": "0", "one": "1", "ten": "10",
		"CPDATA PLAN": "big plan", "tricky": "x==y || 1 && $user",
	}[strings.TrimSpace(name+" "+key)]
}

func TestExpand(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain": "plain", "$user": "alice", "a$user.b": "aalice.b", "$unknown": "", "$user$homedir": "alice/home/alice",
		"$CPDATA{'PLAN'}": "big plan", `$CPDATA{"PLAN"}`: "big plan", "$CPDATA{PLAN}": "big plan", "$CPDATA{ 'PLAN' }": "big plan", "$CPDATA('PLAN')": "big plan",
		"$CPDATA{'NONE'}": "", "$CPDATA{'PLAN": "{'PLAN", "5$": "5$", "$ 5": "$ 5", "$5": "$5", "$tricky": "x==y || 1 && $user",
	} {
		require.Equal(t, want, cpvars.Expand(text, lookup), text)
	}
	require.Equal(t, "a.example", cpvars.Print("DOMAIN", lookup))
	require.Equal(t, "alice", cpvars.Print(" '$user' ", lookup))
	require.Equal(t, "DOMAINS", cpvars.Print("DOMAINS", lookup))
	args := cpvars.ExpandArgs(protocol.Args{Named: map[string]any{"a": "$user", "b": protocol.Number("1")}, Positional: []any{"$domain"}}, lookup)
	require.Equal(t, protocol.Args{Named: map[string]any{"a": "alice", "b": protocol.Number("1")}, Positional: []any{"a.example"}}, args)
}

func TestEval(t *testing.T) {
	for expression, want := range map[string]bool{
		"": false, "0": false, "1": true, "text": true, "$user": true, "$unknown": false, "$zero": false, "!$zero": true, "!!$one": true,
		"!$unknown": true, "$user==alice": true, "$user == 'alice'": true, "'$user' == alice": true, "$user==bob": false, "!$user==bob": true,
		"$user=et=alice": true, "$user!=bob": true, "a==a": true, "$unknown==": true, "==": true, "''==$unknown": true,
		"$ten=gt=9": true, "$ten=gt=10": false, "$ten=gtet=10": true, "9=lt=$ten": true, "$ten=ltet=9": false, "$ten=ltet=10": true, "b=gt=a": true,
		"1 && 0": false, "1 || 0": true, "0 || 1 && 0": false, "1 || 0 && 0": false, "1 || (0 && 0)": true, "!(1 && 0)": true, "(1)": true,
		"$tricky": true, "$tricky==y": false, "$CPDATA{'PLAN'}=='big plan'": true, "'a && b'=='a && b'": true, "\"!$haspostgres\"": true,
	} {
		got, err := cpvars.Eval(expression, lookup)
		require.NoError(t, err, expression)
		require.Equal(t, want, got, expression)
	}
	for expression, says := range map[string]string{
		"(1": "a closing parenthesis is missing", "1)": `")" is not expected`, "&& 1": "a value is missing", "1 &&": "a value is missing",
		"'open": "a closing quote is missing", "!": "a value is missing", "()": "a value is missing", "a==b==c": `"==c" is not expected`,
		strings.Repeat("(", 100) + "1": "nested deeper than 32", strings.Repeat("!", 100) + "1": "nested deeper than 32",
		strings.Repeat("a", 5000): "more than 4096 bytes",
	} {
		got, err := cpvars.Eval(expression, lookup)
		require.ErrorContains(t, err, says, expression)
		require.False(t, got)
	}
}

func FuzzEval(f *testing.F) {
	for _, seed := range []string{"!$a==b && ($CPDATA{'x'}=gtet=1 || 'y')", "((((", "$a{", "=lt==gt=", "!!!!'\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		_, _ = cpvars.Eval(expression, lookup)
		got := cpvars.Expand(expression, func(string, string) string { return "" })
		require.LessOrEqual(t, len(got), len(expression))
	})
}
