package effect

import (
	"encoding/json"
	"maps"
	"net/mail"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// addressNames are the members by which an object names a recipient.
var addressNames = []string{"email", "address", "emailAddress", "email_address", "phone", "phoneNumber", "phone_number", "id", "userId", "user_id",
	"channel", "channelId", "channel_id", "recipient", "to"}

// maxRecipientText is the longest text that is read as a list, in bytes.
const maxRecipientText = 256 << 10

// maxNested is how deeply lists and objects of recipients may nest.
const maxNested = 4

func unclearRecipient() error {
	// fail closed: somebody whom the reviewer does not see
	return refusePlan("give recipients as texts", "a recipient is neither a text nor an object with one address")
}

// recipientTexts reads recipients from a text, an object with an address, or a list
// of these. Blank texts count as nobody.
func recipientTexts(v any, depth int) ([]string, error) {
	if depth > maxNested {
		return nil, unclearRecipient()
	}
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		if strings.TrimSpace(v) == "" {
			return nil, nil
		}
		return []string{v}, nil
	case []any:
		var out []string
		for _, x := range v {
			texts, err := recipientTexts(x, depth+1)
			if err != nil {
				return nil, err
			}
			if out = append(out, texts...); len(out) > maxRecipients {
				return out, nil // the plan refuses them
			}
		}
		return out, nil
	case map[string]any:
		return objectRecipients(v, depth)
	}
	return nil, unclearRecipient()
}

// objectRecipients reads an object that has exactly one address member and, apart
// from its name, nothing else that looks like an address.
func objectRecipients(v map[string]any, depth int) ([]string, error) {
	var who any
	name := ""
	for _, key := range slices.Sorted(maps.Keys(v)) {
		x := v[key]
		switch s, isText := x.(string); {
		case x == nil || isText && s == "":
		case slices.Contains(addressNames, key):
			if who != nil {
				return nil, unclearRecipient()
			}
			who = x
		case isText && (key == "name" || key == "displayName" || key == "display_name"):
			name = s
		default:
			if raw, err := json.Marshal(x); err != nil || strings.Contains(string(raw), "@") {
				return nil, unclearRecipient()
			}
		}
	}
	texts, err := recipientTexts(who, depth+1)
	if err == nil && len(texts) == 0 {
		err = unclearRecipient()
	}
	if err == nil && len(texts) == 1 && name != "" && strings.Contains(texts[0], "@") && !strings.ContainsAny(texts[0], "<>") {
		texts[0] = (&mail.Address{Name: name, Address: texts[0]}).String()
	}
	return texts, err
}

// recipients reads the recipients in one text. Text that is not a list of addresses
// is one recipient.
func recipients(text string) []guard.Recipient {
	text = strings.TrimSpace(text)
	if len(text) > maxRecipientText {
		return []guard.Recipient{single(text)}
	}
	if list := emails(text); list != nil {
		return list
	}
	// Many people separate a list with semicolons, and numbers or rooms with
	// commas.
	addresses := strings.Contains(text, "@")
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == ',' && !addresses || r == '\n' })
	var out []guard.Recipient
	for _, p := range parts {
		p = strings.TrimSpace(p)
		list := emails(p)
		if one := single(p); list == nil && one.Kind != guard.RecipientLabel {
			list = []guard.Recipient{one}
		}
		if list == nil && p != "" {
			return []guard.Recipient{single(text)}
		}
		out = append(out, list...)
	}
	if len(out) < 2 {
		return []guard.Recipient{single(text)}
	}
	return out
}

// single reads a text that is not an e-mail address.
func single(text string) guard.Recipient {
	if phone, ok := phoneNumber(text); ok {
		return guard.Recipient{Text: text, Kind: guard.RecipientPhone, Address: phone}
	}
	if strings.HasPrefix(text, "#") && !strings.ContainsAny(text, listSigns) {
		return guard.Recipient{Text: text, Kind: guard.RecipientRoom, Address: text}
	}
	return guard.Recipient{Text: text, Kind: guard.RecipientLabel, Address: text}
}

// emails parses a list of addresses as defined in RFC 5322. It returns nil if the
// text is not such a list, or if another parser could read other addresses.
func emails(text string) []guard.Recipient {
	if strings.IndexByte(text, '@') <= 0 {
		return nil
	}
	parser := mail.AddressParser{}
	list, err := parser.ParseList(text)
	if err != nil || len(list) == 0 {
		return nil
	}
	out := make([]guard.Recipient, len(list))
	for i, a := range list {
		at := strings.LastIndexByte(a.Address, '@')
		if at < 0 || strings.ContainsAny(a.Address[:at], " \t\r\n,;:\"<>()[]@\\") {
			return nil // these need quoting, which not every parser understands
		}
		out[i] = emailRecipient(a, text, len(list))
	}
	return out
}

// emailRecipient returns an address in the form used for comparison, with the
// domain as it is looked up.
func emailRecipient(a *mail.Address, text string, of int) guard.Recipient {
	r := guard.Recipient{Text: text, Kind: guard.RecipientEmail, Name: a.Name, Address: a.Address}
	if of > 1 {
		r.Text = a.Address
		if a.Name != "" {
			r.Text = a.Name + " <" + a.Address + ">"
		}
	}
	at := strings.LastIndexByte(a.Address, '@')
	r.Domain = lookupName(a.Address[at+1:])
	r.Address = a.Address[:at+1] + r.Domain
	return r
}

// listSigns are the characters that separate or enclose addresses, or that
// introduce further ones.
const listSigns = " \t\r\n,;\"<>()?&%"

// severalIn reports whether unrecognized text may name several recipients: it holds
// an @ and a list sign. A mention such as <@U123> counts as one.
func severalIn(r guard.Recipient) bool {
	if r.Kind != guard.RecipientLabel && r.Kind != guard.RecipientRoom {
		return false
	}
	text := strings.TrimPrefix(r.Text, "@")
	if inner, ok := strings.CutPrefix(r.Text, "<@"); ok && strings.HasSuffix(inner, ">") {
		text = strings.TrimSuffix(inner, ">")
	}
	n := strings.Count(text, "@")
	return n > 1 || n == 1 && strings.ContainsAny(text, listSigns)
}
