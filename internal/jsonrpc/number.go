package jsonrpc

import "strconv"

// maxNumberLen bounds a number token in params.arguments, in bytes. JSON Schema
// validators turn tokens into big rationals and can be made to panic or to run
// for minutes by longer ones.
const maxNumberLen = 64

// survivesCanonical reports whether a number token (valid by grammar) keeps its
// value in the canonical form of RFC 8785, which goes through a float64:
//
//   - a plain integer must be within ±2^53, since 2^53+1 and 2^53 have one
//     canonical form;
//   - any other spelling must have exactly the decimal value of its canonical
//     form: 0.10 and 1e2 survive, 0.1000000000000000055 does not, nor does what
//     overflows (1e400) or vanishes (1e-400);
//   - negative zero is refused, because its canonical form is 0;
//   - the token must not be longer than 64 bytes.
func survivesCanonical(tok []byte) bool {
	if len(tok) > maxNumberLen {
		return false
	}
	d := normalise(tok)
	if d.n == 0 {
		return !d.neg
	}
	if d.plain && len(tok) <= 15 {
		return true
	}
	f, err := strconv.ParseFloat(string(tok), 64)
	if err != nil { // out of range
		return false
	}
	if d.plain && (f > maxSafeInteger || f < -maxSafeInteger) {
		return false
	}
	var buf [32]byte
	c := normalise(strconv.AppendFloat(buf[:0], f, 'e', -1, 64))
	return c.neg == d.neg && c.n == d.n && c.exp == d.exp && c.digits == d.digits
}

// decimal is ±0.d₁d₂…dₙ × 10^exp without leading or trailing zeros.
type decimal struct {
	digits [maxNumberLen]byte
	n, exp int
	neg    bool
	plain  bool // the token had no fraction and no exponent
}

func normalise(tok []byte) decimal {
	d := decimal{plain: true}
	i := 0
	if tok[0] == '-' {
		d.neg = true
		i++
	}
	point := false
	for ; i < len(tok); i++ {
		c := tok[i]
		if c == '.' {
			point, d.plain = true, false
			continue
		}
		if c == 'e' || c == 'E' {
			d.plain = false
			break
		}
		if c == '0' && d.n == 0 {
			if point {
				d.exp--
			}
			continue
		}
		d.digits[d.n] = c
		d.n++
		if !point {
			d.exp++
		}
	}
	for d.n > 0 && d.digits[d.n-1] == '0' {
		d.n--
		d.digits[d.n] = 0
	}
	if d.n == 0 {
		d.exp = 0
		return d
	}
	if i < len(tok) {
		e, neg := 0, false
		for _, c := range tok[i+1:] {
			switch {
			case c == '-':
				neg = true
			case c != '+' && e < 1_000_000:
				e = e*10 + int(c-'0')
			}
		}
		if neg {
			e = -e
		}
		d.exp += e
	}
	return d
}
