package config

import (
	"strings"
	"testing"
)

const recordBase = `version: 1
roots: [/w]
servers:
  crm:
    command: /bin/x
    tools:
      get_contact: {tier: T0_READ}
      ask_contact: {tier: T0_READ, approval: {required: true}}
      write: {tier: T1_REVERSIBLE_WRITE}
      t:
        tier: T1_REVERSIBLE_WRITE
        effect:
`

// TestInvalidRecordsDoNotLoad checks invalid json effects and the position of each error.
func TestInvalidRecordsDoNotLoad(t *testing.T) {
	const read = "read: {tool: get_contact, args: {id: args.id}}"
	for _, c := range []struct{ effect, want string }{
		{"json.merge: {read: {tool: x}, merge: args.f}", `c.yaml:13:37: server "crm" names no tool "x" to read the record with`},
		{"json.merge: {read: {tool: get_contat}, merge: args.f}", `c.yaml:13:37: server "crm" names no tool "get_contat" to read the record with – did you mean "get_contact"?`},
		{"json.merge: {read: {tool: write}, merge: args.f}", `c.yaml:13:37: the record is read with "write", which is T1_REVERSIBLE_WRITE; the guard calls only T0_READ by itself`},
		{"json.merge: {read: {tool: ask_contact}, merge: args.f}", `c.yaml:13:37: the record is read with "ask_contact", which waits for an approval itself`},
		{"json.merge: {" + read + "}", `c.yaml:13:24: json.merge needs "merge", an expression`},
		{"json.merge: {merge: args.f}", "json.merge needs a tool or a file to read the record from"},
		{"json.merge: {read: {tool: get_contact, file: args.p}, merge: args.f}", "needs a tool or a file"},
		{"json.merge: {read: {file: args.p, args: {a: args.a}}, merge: args.f}", "a file is read without arguments"},
		{"json.merge: {" + read + ", value: args.f}", `"value" is not a key of json.merge`},
		{"json.merge: {" + read + ", merge: args.f, igore: [/a]}", `"igore" is not a key of json.merge – did you mean "ignore"?`},
		{"json.merge: {read: {tol: get_contact}, merge: args.f}", `c.yaml:13:31: "tol" is not a key of read – did you mean "tool"?`},
		{"json.merge: {" + read + ", merge: args.f, paths: {alow: [/a]}}", `"alow" is not a key of paths – did you mean "allow"?`},
		{"json.merge: {" + read + ", merge: args.f, paths: {deny: [owner]}}", `"owner" is not a JSON Pointer – write it as /name/name`},
		{"json.merge: {" + read + ", merge: args.f, ignore: ['']}", `"" is not a JSON Pointer`},
		{"json.merge: {" + read + ", merge: args.f, at: contact}", `"contact" is not a JSON Pointer`},
		{"json.merge: {" + read + ", merge: args.f, at: /a~2}", `"/a~2" is not a JSON Pointer`},
		{"json.merge: {" + read + ", merge: args.f, keys: {items: id}}", `"items" is not a JSON Pointer`},
		{"json.merge: {" + read + ", merge: args.f, keys: {/items: ''}}", "the member that tells the elements apart is not named"},
		{"json.merge: {" + read + ", merge: args.f, missing: null}", "a text is needed here"},
		{"json.merge: {" + read + ", merge: args.f, missing: creat}", `"creat" is not an answer here – did you mean "create"?`},
		{"json.patch: {" + read + ", patch: args.ops, missing: create}", "json.patch changes a record that is there"},
		{"json.merge: {" + read + ", merge: [1]}", "an expression, such as args.id, is needed here"},
		{"json.merge: {read: {tool: get_contact, args: {id: [1]}}, merge: args.f}", "an expression, such as args.id, is needed here"},
		{"json.merge: args.f", "a mapping of parameters to expressions is needed here"},
		{"opaque\n        receipts: {recrd: answer.id}", `c.yaml:14:27: "recrd" is not a kind of receipt`},
		{"opaque\n        undo: {tool: write}", "'undo' belongs to json.* effects"},
		{"json.merge: {" + read + ", merge: args.f}\n        undo: {args: {a: args.a}}", "'undo' needs a tool"},
		{"json.merge: {" + read + ", merge: args.f}\n        undo: {tool: wite}", `server "crm" names no tool "wite" – did you mean "write"?`},
		{"json.merge: {" + read + ", merge: args.f}\n        undo: {tool: get_contact}", `"get_contact" is T0_READ, so it takes nothing back`},
		{"json.merge: {" + read + ", merge: args.f}\n        undo: {tol: write}", `"tol" is not a key of undo`},
	} {
		_, err := Parse("c.yaml", []byte(recordBase+"          "+c.effect+"\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.effect, err, c.want)
		}
	}
}

func TestRecordsLoad(t *testing.T) {
	src := recordBase + `          json.merge:
            read: {tool: get_contact, args: {id: args.id, deep: true, limit: 10}}
            at: /contact
            merge: args.fields
            ignore: [/updated_at, /items/*/seen]
            keys: {/items: id}
            paths: {allow: [/stage], ask: [/email], deny: [/owner]}
            missing: create
        receipts: {record: answer.contact.id}
`
	c, err := Parse("c.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	e := c.Servers["crm"].Tools["t"].Effect
	if e.Kind != "json.merge" || e.Params["merge"] != "args.fields" || e.Record.Read.Args["limit"] != "10" || e.Record.Read.Args["deep"] != "true" ||
		e.Record.At != "/contact" || e.Record.Keys["/items"] != "id" || e.Record.Paths.Deny[0] != "/owner" {
		t.Errorf("read %+v %+v", e, e.Record)
	}
	if pos := c.PosIn(e.Record.Path+".read.args.id", 1, 6); pos.Line != 14 {
		t.Errorf("the place of an expression is %v", pos)
	}
	if len(c.Notes) != 0 {
		t.Errorf("notes: %v", c.Notes)
	}
	c, err = Parse("c.yaml", []byte(strings.Replace(src, "t:\n        tier: T1_REVERSIBLE_WRITE", "t:\n        tier: T2_IRREVERSIBLE_WRITE", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Notes) != 1 || !strings.Contains(c.Notes[0].String(), "asked for even where their paths are allowed") {
		t.Errorf("notes: %v", c.Notes)
	}
}
