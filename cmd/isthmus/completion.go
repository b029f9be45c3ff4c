package main

import "github.com/spf13/cobra"

func newCompletion(w *world) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that completes commands, kinds and names in a shell",
		Example: `  source <(isthmus completion bash)
  isthmus completion zsh > "${fpath[1]}/_isthmus"
  isthmus completion fish > ~/.config/fish/completions/isthmus.fish
  isthmus completion powershell | Out-String | Invoke-Expression`,
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(c *cobra.Command, args []string) error {
			switch root := c.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(w.out, true)
			case "zsh":
				return root.GenZshCompletion(w.out)
			case "fish":
				return root.GenFishCompletion(w.out, true)
			default:
				return root.GenPowerShellCompletionWithDesc(w.out)
			}
		},
	}
}
