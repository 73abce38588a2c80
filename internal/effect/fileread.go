package effect

import (
	"context"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// FileRead changes nothing; its paths must lie in the workspace.
const FileRead = "file.read"

type fileRead struct{ notPredicted }

func (fileRead) about() About {
	return About{Name: FileRead, ReadOnly: true, params: []param{{name: "path", want: expr.StringList}}, paths: []string{"path"}}
}

func (fileRead) resolve(ctx context.Context, b *Binding, in Input) (resolved, error) {
	places, err := b.resolvedPaths(ctx, in, naming{paths: []string{"path"}, whole: true, slash: true, follow: followsAlways})
	return resolved{places: places, targets: targetsOf(places, false)}, err
}

func (fileRead) plan(_ context.Context, b *Binding, in Input, at resolved) (guard.Preview, error) {
	return b.planNothing(in, at.places)
}
