package jsonvalue

import (
	"fmt"
	"strconv"
	"strings"
)

// decimal is the exact value 0.digits × 10^exp of a number token. Zero has no
// digits; otherwise neither the first nor the last digit is 0, so equal values are
// equal structs.
type decimal struct {
	negative bool
	digits   string
	exp      int64
}

// maxExponentDigits bounds an exponent so that decimal arithmetic cannot
// overflow.
const maxExponentDigits = 9

// decimalOf returns the value of a token that the decoder accepted.
func decimalOf(token string) decimal {
	mantissa, exponent := token, ""
	if i := strings.IndexAny(token, "eE"); i >= 0 {
		mantissa, exponent = token[:i], token[i+1:]
	}
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	exp := int64(len(whole))
	if exponent != "" {
		n, _ := strconv.ParseInt(exponent, 10, 64) // the decoder bounds its length
		exp += n
	}
	digits := whole
	if fraction != "" {
		digits += fraction
	}
	trimmed := strings.TrimLeft(digits, "0")
	exp -= int64(len(digits) - len(trimmed))
	trimmed = strings.TrimRight(trimmed, "0")
	if trimmed == "" {
		return decimal{}
	}
	return decimal{negative, trimmed, exp}
}

// isWhole reports whether d has no fraction.
func (d decimal) isWhole() bool { return d.exp >= int64(len(d.digits)) || d.digits == "" }

// exceedsSafeInteger reports whether d is a whole number beyond ±2^53, where
// doubles no longer distinguish neighbours.
func (d decimal) exceedsSafeInteger() bool {
	const limit = "9007199254740992" // 2^53
	switch {
	case !d.isWhole() || d.exp < int64(len(limit)):
		return false
	case d.exp > int64(len(limit)):
		return true
	}
	return d.digits+strings.Repeat("0", len(limit)-len(d.digits)) > limit
}

// survives returns an error if a number token would not come back from the
// canonical form as the same number.
func survives(token string) error {
	d := decimalOf(token)
	if d.exceedsSafeInteger() {
		return fmt.Errorf("the integer %.40s is beyond ±2^53", token)
	}
	f, err := strconv.ParseFloat(token, 64)
	if err != nil {
		return fmt.Errorf("the number %.40s is out of range", token)
	}
	if decimalOf(strconv.FormatFloat(f, 'e', -1, 64)) != d {
		return fmt.Errorf("the number %.40s has more digits than a double holds", token)
	}
	return nil
}

// HasFraction reports whether a token is written with a fraction or an exponent.
func HasFraction(token string) bool { return strings.ContainsAny(token, ".eE") }
