package effect

import (
	"slices"

	"github.com/mcpguard/mcpguard/internal/expr"
)

// FileWrite gives a file new content, FileAppend adds to its end.
const (
	FileWrite  = "file.write"
	FileAppend = "file.append"
)

var fileWrite = contentKind{
	name: FileWrite, verb: "overwrite", fill: fillWrite, whole: true,
	params:  []param{{name: "content", want: expr.String}},
	creates: func(string) bool { return true },
}

var fileAppend = contentKind{
	name: FileAppend, verb: "append to", fill: fillAppend,
	params:  []param{{name: "content", want: expr.String}},
	creates: func(dialect string) bool { return dialect != DialectFilesystem },
}

func fillWrite(b *Binding, in Input, c *content) error {
	s, err := b.text(in, "content")
	if err != nil {
		return err
	}
	if b.dialect == DialectClaude {
		c.after, err = claudeWrite(s, *c)
		return err
	}
	c.after = []byte(s)
	return nil
}

func fillAppend(b *Binding, in Input, c *content) error {
	s, err := b.text(in, "content")
	if err != nil {
		return err
	}
	if b.dialect == DialectClaude {
		// fail closed: it has no tool that appends
		return refusePlan("write the whole file", "what the tool would make of %q is not known", c.rel())
	}
	c.after = append(slices.Clip(slices.Clone(c.before)), s...)
	return nil
}
