package envflag_test

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/isthmus-io/isthmus/envflag"
	"github.com/isthmus-io/isthmus/fault"
)

func TestFill(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		want string // text, list, switch
		bad  string // the variable that is refused
	}{
		{"nothing", nil, nil, "absent||false", ""},
		{"all", nil, map[string]string{"APP_SOME_TEXT": "hello", "APP_LIST": "a,b", "APP_SWITCH": "true"}, "hello|a,b|true", ""},
		{"empty is none", nil, map[string]string{"APP_SOME_TEXT": ""}, "absent||false", ""},
		{"the command line wins", []string{"--some-text=said", "--list=c", "--switch=false"},
			map[string]string{"APP_SOME_TEXT": "hello", "APP_LIST": "a,b", "APP_SWITCH": "true"}, "said|c|false", ""},
		{"other prefix", nil, map[string]string{"SOME_TEXT": "hello"}, "absent||false", ""},
		{"refused", nil, map[string]string{"APP_SWITCH": "hunter2"}, "absent||false", "APP_SWITCH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			flags := pflag.NewFlagSet("app", pflag.ContinueOnError)
			text := flags.String("some-text", "absent", "a `TEXT`")
			list := flags.StringSlice("list", nil, "")
			on := flags.Bool("switch", false, "on or off")
			if err := flags.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			err := envflag.Fill(flags, "APP_", func(name string) string { return c.env[name] })
			got := strings.Join([]string{*text, strings.Join(*list, ","), map[bool]string{true: "true", false: "false"}[*on]}, "|")
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if c.bad == "" && err != nil || c.bad != "" && (fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), c.bad)) {
				t.Errorf("error %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the value is shown")
			}
		})
	}
	if got := envflag.Name("X_", "a-b-c"); got != "X_A_B_C" {
		t.Errorf("the name is %s", got)
	}
}
