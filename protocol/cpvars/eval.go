package cpvars

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	maxExpression = 4096 // Maximum length, in bytes.
	maxNesting    = 32   // Maximum depth of parentheses and '!'.
)

// operators are those of cPanel's documentation, and !=. If an operator is the start of another, the longer
// operator must come first, because the first match is used.
var operators = []string{"=gtet=", "=ltet=", "=gt=", "=lt=", "=et=", "==", "!="}

// Eval evaluates an expression of cpanelif:
//
//	expression = term { ("&&" | "||") term }       evaluated from left to right, without precedence
//	term       = "!" term | "(" expression ")" | operand [ operator operand ]
//	operand    = quoted text | text with variables
//
// An operand without an operator is true if its value is neither empty nor 0. The operators ==, =et= and != compare
// texts. The other operators compare numbers if both operands are numbers, otherwise texts.
func Eval(expression string, lookup Lookup) (bool, error) {
	if len(expression) > maxExpression {
		return false, fmt.Errorf("the expression has more than %d bytes", maxExpression)
	}
	e := &evaluator{rest: unquote(strings.TrimSpace(expression)), lookup: lookup}
	if e.rest == "" {
		return false, nil
	}
	result, err := e.expression(0)
	if err == nil && e.rest != "" {
		err = fmt.Errorf("the text %.20q is not expected", e.rest)
	}
	return result && err == nil, err
}

// evaluator parses and evaluates an expression in a single pass. rest is the part that has not been read yet.
type evaluator struct {
	rest   string
	lookup Lookup
}

func (e *evaluator) take(token string) bool {
	e.rest = strings.TrimLeft(e.rest, " \t\r\n")
	rest, ok := strings.CutPrefix(e.rest, token)
	if ok {
		e.rest = strings.TrimLeft(rest, " \t\r\n")
	}
	return ok
}

func (e *evaluator) expression(depth int) (bool, error) {
	result, err := e.term(depth)
	for err == nil {
		var right bool
		switch {
		case e.take("&&"):
			right, err = e.term(depth)
			result = result && right
		case e.take("||"):
			right, err = e.term(depth)
			result = result || right
		default:
			return result, nil
		}
	}
	return false, err
}

func (e *evaluator) term(depth int) (bool, error) {
	if depth == maxNesting {
		return false, fmt.Errorf("the expression is nested deeper than %d levels", maxNesting)
	}
	if !strings.HasPrefix(e.rest, "!=") && e.take("!") {
		result, err := e.term(depth + 1)
		return !result, err
	}
	if e.take("(") {
		result, err := e.expression(depth + 1)
		if err == nil && !e.take(")") {
			err = errors.New("a closing parenthesis is missing")
		}
		return result, err
	}
	return e.comparison()
}

func (e *evaluator) comparison() (bool, error) {
	left, err := e.operand()
	if err != nil {
		return false, err
	}
	for _, op := range operators {
		if !e.take(op) {
			continue
		}
		right, err := e.operand()
		if err != nil {
			return false, err
		}
		return compare(left, op, right), nil
	}
	if left.raw == "" && !left.quoted {
		return false, errors.New("a value is missing")
	}
	return left.value != "" && left.value != "0", nil
}

// operand is one side of a comparison. value is the text after the expansion of variables, and raw is the
// text before. An operand may be empty if an operator stands next to it.
type operand struct {
	value, raw string
	quoted     bool
}

// operand reads the text up to the next operator, "&&", "||" or closing parenthesis. It reads a quoted text
// or a variable as a whole, even if an operator or a parenthesis occurs inside.
func (e *evaluator) operand() (operand, error) {
	e.rest = strings.TrimLeft(e.rest, " \t\r\n")
	if e.rest != "" && (e.rest[0] == '\'' || e.rest[0] == '"') {
		end := strings.IndexByte(e.rest[1:], e.rest[0])
		if end < 0 {
			return operand{}, errors.New("a closing quote is missing")
		}
		text := e.rest[1 : 1+end]
		e.rest = strings.TrimLeft(e.rest[end+2:], " \t\r\n")
		return operand{value: Expand(text, e.lookup), raw: text, quoted: true}, nil
	}
	n := 0
	for n < len(e.rest) && !endsOperand(e.rest[n:]) {
		if _, _, size := variable(e.rest[n:]); size > 0 {
			n += size
			continue
		}
		n++
	}
	raw := strings.TrimRight(e.rest[:n], " \t\r\n")
	e.rest = e.rest[n:]
	return operand{value: Expand(raw, e.lookup), raw: raw}, nil
}

func endsOperand(rest string) bool {
	if rest[0] == ')' || strings.HasPrefix(rest, "&&") || strings.HasPrefix(rest, "||") {
		return true
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			return true
		}
	}
	return false
}

func number(s string) (float64, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

func compare(left operand, op string, right operand) bool {
	a, b := left.value, right.value
	switch op {
	case "==", "=et=":
		return a == b
	case "!=":
		return a != b
	}
	order := strings.Compare(a, b)
	x, okX := number(a)
	y, okY := number(b)
	if okX && okY {
		switch {
		case x < y:
			order = -1
		case x > y:
			order = 1
		default:
			order = 0
		}
	}
	switch op {
	case "=gt=":
		return order > 0
	case "=gtet=":
		return order >= 0
	case "=lt=":
		return order < 0
	default: // The only operator left is =ltet=.
		return order <= 0
	}
}
