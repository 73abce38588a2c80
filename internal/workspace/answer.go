package workspace

import (
	"errors"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/mcpguard/mcpguard/internal/effect"
)

// toolError tells the model what went wrong and what to do next.
func toolError(err error) *mcp.CallToolResult { return mcp.NewToolResultError(toolErrorText(err)) }

func toolErrorText(err error) string {
	var r *effect.Refusal
	if errors.As(err, &r) && r.Repair != "" {
		return r.Reason + "; " + r.Repair
	}
	return err.Error()
}
