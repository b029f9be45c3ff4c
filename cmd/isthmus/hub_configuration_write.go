package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// contentShape teaches what a content looks like.
const contentShape = `'{"deviceContent": {"properties.desired.interval": 10}}', or moduleContent, or modulesContent of an edge deployment`

// configurationFlags say what a configuration is besides its content.
type configurationFlags struct {
	changed  func(string) bool
	target   string
	priority int64
	labels   []string
	metrics  []string
}

func addConfigurationFlags(c *cobra.Command) *configurationFlags {
	x := &configurationFlags{changed: c.Flags().Changed}
	f := c.Flags()
	f.StringVar(&x.target, "target", "", "`CONDITION` for those it is for, as after WHERE in a query; '*' for all; \"FROM devices.modules WHERE ..\" for modules")
	f.Int64Var(&x.priority, "priority", 0, "`NUMBER`; of configurations that disagree the one with the highest wins")
	f.StringArrayVar(&x.labels, "label", nil, "`NAME=VALUE` for people; may be given several times")
	f.StringArrayVar(&x.metrics, "metric", nil, "`NAME=QUERY` to count by; may be given several times")
	return x
}

// apply changes what flags name, and has the hub look at the queries first, which says best what is wrong with them.
func (f *configurationFlags) apply(ctx context.Context, hub *hubclient.Client, conf *hubclient.Configuration) error {
	op := "isthmus.configuration"
	labels, err := assignments("label", f.labels)
	if err != nil {
		return err
	}
	metrics, err := assignments("metric", f.metrics)
	if err != nil {
		return err
	}
	if f.changed("target") {
		conf.Target = f.target
	}
	if f.changed("priority") {
		conf.Priority = f.priority
	}
	if labels != nil {
		conf.Labels = labels
	}
	if metrics != nil {
		conf.Metrics = &hubclient.Metrics{Queries: metrics}
	}
	if conf.Target == "" && metrics == nil {
		return nil
	}
	wrong, wrongMetrics, err := hub.TestQueries(ctx, first(conf.Target, "*"), metrics)
	switch {
	case err != nil:
		return err
	case wrong != "":
		return fault.Newf(op, fault.Invalid, "the target condition cannot be used: %s", wrong).Advise(`write it as --target "tags.line = 7"`)
	}
	for _, name := range sortedNames(wrongMetrics) {
		if wrongMetrics[name] != "" {
			return fault.Newf(op, fault.Invalid, "the metric %s cannot be used: %s", name, wrongMetrics[name]).
				Advise(`write it as --metric "slow=SELECT deviceId FROM devices WHERE properties.reported.interval > 10"`)
		}
	}
	return nil
}

// contentOf reads a content that may stand inside of a whole configuration, as exports have it.
func contentOf(in *input, args []string) (json.RawMessage, error) {
	text, err := in.json(args)
	if err != nil {
		return nil, err
	}
	if text == nil {
		return nil, usagef("the content is missing").advise("give --content FILE, - for standard input, or %s", contentShape)
	}
	if _, fields := fieldsOf(text); fields["content"] != nil {
		text = fields["content"]
	}
	fields, err := in.object(text, contentShape, deviceContent, moduleContent, modulesContent)
	if err != nil {
		return nil, err
	}
	kept := map[string]json.RawMessage{}
	for k, v := range fields { // a part that is there and empty is as one that is not
		if plainText(v) != "" {
			kept[k] = v
		}
	}
	if len(kept) != 1 {
		return nil, fault.Newf("isthmus.content", fault.Invalid, "the content has %d parts, and one is possible", len(kept)).Advise("write %s", contentShape)
	}
	b, err := json.Marshal(kept)
	return b, fault.Wrap("isthmus.content", fault.Internal, err, "")
}

func addContent(w *world, c *cobra.Command) *input {
	in := &input{w: w, what: "the content"}
	c.Flags().StringVarP(&in.file, "content", "f", "", "`FILE` with the content, or with a configuration that has it; - for standard input")
	return in
}

func newConfigurationCreate(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "create CONFIGURATION [JSON]", Short: "Create a configuration, or a deployment of edge devices", Args: cobra.RangeArgs(1, 2),
		Long: `Create a configuration. Its content never changes; another content is another configuration, with a higher priority. A content has one of deviceContent,
moduleContent and modulesContent, whose keys are paths that begin with properties.desired. Without --target it is for nobody yet.`,
		Example: `  isthmus hub configuration create line-7 '{"deviceContent": {"properties.desired.interval": 10}}' --target "tags.line = 7" --priority 10
  isthmus hub configuration create camera-2 --content deployment.json --target "tags.camera = true" --label owner=vision
  isthmus hub configuration create line-8 --content line-8.json --metric "slow=SELECT deviceId FROM devices WHERE properties.reported.interval > 10"`,
	}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	flags, in := addConfigurationFlags(c), addContent(w, c)
	c.RunE = func(c *cobra.Command, args []string) error {
		content, err := contentOf(in, args[1:])
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			conf := hubclient.Configuration{ID: args[0], Content: content}
			if err := flags.apply(c.Context(), hub, &conf); err != nil {
				return err
			}
			made, err := hub.CreateConfiguration(c.Context(), conf)
			if err != nil {
				return err
			}
			if out.structured() {
				return out.write(w, made)
			}
			w.printf("configuration %s created, for %s\n", harmless(made.ID), contentWords(made.Content))
			if made.Target == "" {
				w.note("it is for nobody yet: isthmus hub configuration update %s --target CONDITION", made.ID)
			}
			return nil
		})(c, args)
	}
	return c
}

func newConfigurationUpdate(w *world, n *noun[*hubclient.Client, hubclient.Configuration]) *cobra.Command {
	var out output
	var match string
	c := &cobra.Command{
		Use: "update CONFIGURATION", Short: "Change target, priority, labels or metrics of a configuration", Args: cobra.ExactArgs(1),
		Long: `Change a configuration: what a flag names becomes that, everything else stays, and the content cannot be changed. Labels and metrics that are given replace all
there were. A change by others at the same time is refused, not lost.`,
		Example: "  isthmus hub configuration update line-7 --priority 20",
	}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	flags := addConfigurationFlags(c)
	c.Flags().StringVar(&match, "if-match", "", "change it only while it has this `ETAG`")
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		conf, err := hub.Configuration(c.Context(), args[0])
		if err != nil {
			return err
		}
		if err := flags.apply(c.Context(), hub, &conf); err != nil {
			return err
		}
		if conf, err = hub.UpdateConfiguration(c.Context(), conf, first(match, conf.ETag)); err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, conf)
		}
		w.printf("configuration %s updated\n", harmless(conf.ID))
		return nil
	})
	return c
}

func newConfigurationApply(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "apply DEVICE [JSON]", Short: "Write a content into the twins of one device, once", Args: cobra.RangeArgs(1, 2),
		Long: `Write a content into the twins of one device, without a configuration: to try it, or for a device that is unlike all others. An edge device gets modulesContent; its
modules are created when they are not there.`,
		Example: `  isthmus hub configuration apply sensor-1 '{"deviceContent": {"properties.desired.interval": 10}}'
  isthmus hub configuration apply press-4 --content deployment.json`,
	}
	a := toHub(w, c)
	in := addContent(w, c)
	c.ValidArgsFunction = completeDevices(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		content, err := contentOf(in, args[1:])
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			if err := hub.ApplyContent(c.Context(), args[0], content); err != nil {
				return err
			}
			w.printf("content applied to %s\n", nameWords(args[0]))
			return nil
		})(c, args)
	}
	return c
}
