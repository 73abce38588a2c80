package safetext

import "testing"

// TestReadableName: names in one script are readable; what imitates, hides or
// reorders is not.
func TestReadableName(t *testing.T) {
	for _, s := range []string{
		"", "src/main.go", "a b", "Отчёт.md", "документы/отчёт за 2026.txt", "docs/Übersicht.md", "naïve café.txt", "résumé_2.pdf", "Łódź", "phở.txt",
		"データベース.sql", "日本語/読み方.md", "한국어.txt", "中文 文件.txt", "ελληνικά.txt", "हिन्दी.md", "ไทย.txt", "tiếng việt/đường.go", "メモ2.txt", "हिन्दी२.md",
	} {
		if !ReadableName(s) {
			t.Errorf("%q (%+q) is not readable: %v", s, s, Scan([]byte(s)))
		}
	}
	for why, s := range map[string]string{
		"a Cyrillic a in a Latin word":     "p\u0430yload.sh",
		"a word of look-alikes":            "src/\u0440\u0430\u0441\u0435.go",
		"a Greek letter in a Latin word":   "lo\u03bdin.go",
		"Latin in a Cyrillic word":         "отч\u0065т.md",
		"reordering":                       "a\u202egpj.exe",
		"nothing to see":                   "a\u200bb",
		"a blank that is none":             "a\u00a0b",
		"another spelling of one letter":   "cafe\u0301.txt",
		"a ligature":                       "\ufb01le",
		"full width":                       "\uff41\uff42.txt",
		"a Roman numeral":                  "fi\u217ce",
		"a dotless i":                      "f\u0131le",
		"phonetic a":                       "p\u0251th",
		"a digit like a full stop":         "a\u0660sh",
		"both directions":                  "src/\u05e9\u05dc\u05d5\u05dd.txt",
		"a newline":                        "a\nb",
		"a tab":                            "a\tb",
		"bytes":                            "a\xffb",
		"a mark on nothing":                "/\u0301a",
		"a private character":              "a\ue000",
		"mathematics":                      "\U0001d41a\U0001d41b",
		"a look-alike of a slash":          "a\u2215b",
		"a look-alike of a full stop":      "a\u2024sh",
		"a look-alike of an apostrophe":    "a\u2019b",
		"a letter of three scripts' words": "日本p\u0430",
	} {
		if ReadableName(s) {
			t.Errorf("%s: %+q counts as readable", why, s)
		}
	}
}
