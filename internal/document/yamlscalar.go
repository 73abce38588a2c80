package document

import (
	"errors"
	"math/big"
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// resolvePlain resolves an unquoted YAML scalar by the core schema of YAML 1.2
// (section 10.3.2). ambiguous says that parsers of YAML 1.1, or common parsers of
// 1.2, read it differently, or that JSON has no such value.
func resolvePlain(s string) (v jsonvalue.Value, ambiguous bool, err error) {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return jsonvalue.Null(), false, nil
	case "true", "True", "TRUE":
		return jsonvalue.Bool(true), false, nil
	case "false", "False", "FALSE":
		return jsonvalue.Bool(false), false, nil
	}
	if token, simple := decimalToken(s); token != "" {
		v, err = jsonvalue.Number(token)
		return v, !simple, err
	}
	if digits, base := prefixed(s); base != 0 {
		n, ok := new(big.Int).SetString(digits, base)
		if !ok || len(digits) > 64 {
			return jsonvalue.Value{}, true, errors.New("number out of range")
		}
		v, err = jsonvalue.Number(n.String())
		return v, true, err
	}
	v, err = jsonvalue.String(s)
	return v, ambiguousText(s), err
}

// prefixed returns the digits and base of 0o17 and 0x1F.
func prefixed(s string) (digits string, base int) {
	only := func(digits, set string) bool { return digits != "" && strings.Trim(digits, set) == "" }
	if d, ok := strings.CutPrefix(s, "0o"); ok && only(d, "01234567") {
		return d, 8
	}
	if d, ok := strings.CutPrefix(s, "0x"); ok && only(d, "0123456789abcdefABCDEF") {
		return d, 16
	}
	return "", 0
}

// decimalToken returns the JSON token of a decimal number, or "" if s is not one.
// simple says that every parser reads s as this number.
func decimalToken(s string) (token string, simple bool) {
	rest, minus := strings.CutPrefix(s, "-")
	rest, plus := strings.CutPrefix(rest, "+")
	if minus && plus {
		return "", false
	}
	mantissa, exponent := rest, ""
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		mantissa, exponent = rest[:i], rest[i+1:]
		digits := strings.TrimLeft(exponent, "+-")
		if len(exponent)-len(digits) > 1 || !allDigits(digits) {
			return "", false
		}
	}
	whole, fraction, dot := strings.Cut(mantissa, ".")
	if whole+fraction == "" || whole != "" && !allDigits(whole) || fraction != "" && !allDigits(fraction) {
		return "", false
	}
	simple = !plus && whole != "" && (whole == "0" || whole[0] != '0') && dot == (fraction != "")
	if exponent != "" { // 1e3 and 1.0e3 are strings to YAML 1.1 parsers
		simple = simple && dot && (exponent[0] == '+' || exponent[0] == '-')
	}
	whole = strings.TrimLeft(whole, "0")
	if whole == "" {
		whole = "0"
	}
	token = whole
	if minus {
		token = "-" + token
	}
	if dot && fraction == "" {
		fraction = "0"
	}
	if dot {
		token += "." + fraction
	}
	if exponent != "" {
		token += "e" + exponent
	}
	return token, simple
}

func allDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// ambiguousText reports whether other parsers read a plain string as a boolean,
// number, time or something special. If in doubt, it returns true.
func ambiguousText(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "=", "<<", "null", "true", "false", ".inf", "+.inf", "-.inf", ".nan":
		return true
	}
	first := strings.TrimLeft(s, "+-.")
	return first != "" && first[0] >= '0' && first[0] <= '9' && strings.Trim(s, "0123456789abcdefxoABCDEFXOtTzZ+-_.: ") == ""
}
