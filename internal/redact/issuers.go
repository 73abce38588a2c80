package redact

import "bytes"

// Token shapes that do not fit in one row of the table because they have parts of
// fixed length. Each matcher examines a bounded number of bytes around its anchor.

// runOf reports whether b has exactly n bytes of the set at i.
func runOf(b []byte, i, n int, set *charset) bool {
	return i >= 0 && set.run(b, i, n) == i+n && (i+n == len(b) || !set[b[i+n]])
}

// back returns the start of the run of the set that ends before i, at most limit
// bytes before it.
func (s *charset) back(b []byte, i, limit int) int {
	start := i
	for start > 0 && i-start < limit && s[b[start-1]] {
		start--
	}
	return start
}

// discordAnchors are the possible beginnings of the base64 of an identifier, by its
// first two digits: bot tokens begin with the bot's identifier.
func discordAnchors() []string {
	var out []string
	for _, first := range []string{"MT", "Mj", "Mz", "ND", "NT", "Nj", "Nz", "OD", "OT"} {
		for _, second := range "AEIMQUYcgk" {
			out = append(out, first+string(second))
		}
	}
	return out
}

func matchDiscord(b []byte, i int) (int, int, bool) {
	if !boundary(b, i) {
		return 0, 0, false
	}
	dot := wordDash.run(b, i, 32)
	if dot < i+23 || dot+7 >= len(b) || b[dot] != '.' || !runOf(b, dot+1, 6, wordDash) || b[dot+7] != '.' {
		return 0, 0, false
	}
	end := wordDash.run(b, dot+8, 64)
	return i, end, end >= dot+8+27
}

func matchDiscordWebhook(b []byte, i int) (int, int, bool) {
	at := i + len("/api/webhooks/")
	slash := digits.run(b, at, 24)
	if slash < at+17 || slash >= len(b) || b[slash] != '/' {
		return 0, 0, false
	}
	end := wordDash.run(b, slash+1, len(b))
	return slash + 1, end, end >= slash+1+50
}

func matchTelegram(b []byte, i int) (int, int, bool) {
	start := digits.back(b, i, 11)
	bot := start >= 3 && string(b[start-3:start]) == "bot"
	if i-start < 8 || i-start > 10 || !bot && !boundary(b, start) || !runOf(b, i+3, 33, wordDash) {
		return 0, 0, false
	}
	return start, i + 3 + 33, true
}

// matchTwilio matches the token next to an account identifier.
func matchTwilio(b []byte, i int) (int, int, bool) {
	at := i + 2 + 32
	if !boundary(b, i) || !runOf(b, i+2, 32, lowerHex) {
		return 0, 0, false
	}
	for j := at; j < len(b) && j < at+8; j++ {
		if alnum[b[j]] {
			return j, j + 32, runOf(b, j, 32, lowerHex)
		}
	}
	return 0, 0, false
}

// matchMailgun matches a key near the issuer's name: on its own it could be a
// version of something.
func matchMailgun(b []byte, i int) (int, int, bool) {
	for j := i + len("mailgun"); j < len(b) && j < i+200; j++ {
		if !lowerHex[b[j]] || alnum[b[j-1]] {
			continue
		}
		if runOf(b, j, 32, alnum) && runOf(b, j, 32, lowerHex) && j+33 < len(b) && b[j+32] == '-' &&
			runOf(b, j+33, 8, lowerHex) && j+42 < len(b) && b[j+41] == '-' && runOf(b, j+42, 8, lowerHex) {
			return j, j + 50, true
		}
	}
	return 0, 0, false
}

func matchMailchimp(b []byte, i int) (int, int, bool) {
	start, end := lowerHex.back(b, i, 33), digits.run(b, i+3, 3)
	return start, end, i-start == 32 && boundary(b, start) && end > i+3 && (end == len(b) || !alnum[b[end]])
}

func matchResend(b []byte, i int) (int, int, bool) {
	ok := boundary(b, i) && runOf(b, i+3, 8, alnum) && i+11 < len(b) && b[i+11] == '_' && runOf(b, i+12, 24, alnum)
	return i, i + 36, ok && hasDigit(b[i+3:i+36])
}

func matchCloudflare(b []byte, i int) (int, int, bool) {
	at := i + len("v1.0-")
	if !boundary(b, i) || !runOf(b, at, 24, lowerHex) || at+25 >= len(b) || b[at+24] != '-' {
		return 0, 0, false
	}
	end := lowerHex.run(b, at+25, 200)
	return i, end, end >= at+25+100
}

func matchAirtable(b []byte, i int) (int, int, bool) {
	ok := boundary(b, i) && runOf(b, i+3, 14, alnum) && i+18 < len(b) && b[i+17] == '.' && runOf(b, i+18, 64, lowerHex)
	return i, i + 18 + 64, ok
}

func matchTerraform(b []byte, i int) (int, int, bool) {
	start := alnum.back(b, i, 20)
	end := wordDash.run(b, i+len(".atlasv1."), len(b))
	return start, end, i-start == 14 && end >= i+len(".atlasv1.")+50
}

func matchFirebase(b []byte, i int) (int, int, bool) {
	start := wordDash.back(b, i, 24)
	end := wordDash.run(b, i+len(":APA91b"), len(b))
	return start, end, i-start >= 7 && end >= i+len(":APA91b")+100
}

// matchAzureSecret matches a client secret: three characters, a digit, "Q~" and
// about thirty more.
func matchAzureSecret(b []byte, i int) (int, int, bool) {
	set := newCharset("a-zA-Z0-9_.~-")
	start := i - 4
	if start < 0 || !digits[b[i-1]] || set.back(b, i-1, 3) != start || start > 0 && (set[b[start-1]] || b[start-1] == '/') {
		return 0, 0, false
	}
	end := set.run(b, i+2, 40)
	for end > i+2 && b[end-1] == '.' {
		end-- // a full stop
	}
	n := end - i - 2
	return start, end, n >= 31 && n <= 34 && hasDigit(b[i+2:end])
}

func matchHash(b []byte, i int) (int, int, bool) {
	set := newCharset("a-zA-Z0-9./$=,+-")
	end := set.run(b, i+1, 256)
	salt := bytes.IndexByte(b[i+1:end], '$')
	return i, end, end-i >= 34 && salt > 0 && bytes.Count(b[i:end], []byte("$")) >= 3
}
