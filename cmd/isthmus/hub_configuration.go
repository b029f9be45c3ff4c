package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubConfiguration(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "configuration", Aliases: []string{"configurations", "deployment", "deployments"}, Short: "Keep desired properties of many devices as one document says",
		Long: `A configuration has a content and a target condition: the hub writes the content into the desired properties of every device, or module, for which the condition
holds, now and later. Of several that disagree the one of the highest priority wins. A content with modulesContent is a deployment of edge devices.`,
		Example: `  isthmus hub configuration create line-7 --content line-7.json --target "tags.line = 7" --priority 10
  isthmus hub configuration metrics line-7`,
	}
	n := &noun[*hubclient.Client, hubclient.Configuration]{
		w: w, word: "configuration", path: "isthmus hub configuration", reach: toHub, list: allConfigurations, get: (*hubclient.Client).Configuration,
		remove: func(hub *hubclient.Client, ctx context.Context, id string) (int, error) {
			return 0, hub.DeleteConfiguration(ctx, id, hubclient.Any)
		},
		name:  func(conf hubclient.Configuration) string { return conf.ID },
		heads: []string{"CONFIGURATION", "FOR", "TARGET", "PRIORITY", "TARGETED", "APPLIED", "UPDATED"}, row: w.configurationRow, show: w.printConfiguration,
	}
	c.AddCommand(n.newList("List configurations, with how far each is", ""), n.newShow("Show a configuration with its content", "line-7"),
		newConfigurationCreate(w), newConfigurationUpdate(w, n), n.newDelete("Delete configurations; what they wrote stays", "line-7"), newConfigurationMetrics(w, n), newConfigurationApply(w))
	return c
}

func allConfigurations(hub *hubclient.Client, ctx context.Context) ([]hubclient.Configuration, error) {
	return hub.Configurations(ctx, maxPage)
}

// The parts of which a content has exactly one, and whom each is for.
const (
	deviceContent  = "deviceContent"
	moduleContent  = "moduleContent"
	modulesContent = "modulesContent"
)

func contentWords(content json.RawMessage) string {
	_, fields := fieldsOf(content)
	switch {
	case fields[modulesContent] != nil && plainText(fields[modulesContent]) != "":
		return "edge devices"
	case fields[moduleContent] != nil && plainText(fields[moduleContent]) != "":
		return "modules"
	}
	return "devices"
}

// Names of the counts every configuration has.
const (
	targetedCount = "targetedCount"
	appliedCount  = "appliedCount"
)

func (w *world) configurationRow(conf hubclient.Configuration) []cell {
	r := cells(conf.ID, contentWords(conf.Content), first(conf.Target, "nobody"), itoa(int(conf.Priority)), "", "", w.hubTime(conf.Updated))
	if m := conf.SystemMetrics; m != nil && m.Results != nil {
		targeted, applied := m.Results[targetedCount], m.Results[appliedCount]
		r[4].text, r[5].text = itoa(targeted), itoa(applied)
		r[5].colour = green
		if applied < targeted {
			r[5].colour = yellow
		}
	}
	return r
}

func (w *world) printConfiguration(conf hubclient.Configuration) {
	w.pairs([2]string{"Configuration", conf.ID}, [2]string{"For", contentWords(conf.Content)}, [2]string{"Target", first(conf.Target, "nobody")}, [2]string{"Priority", itoa(int(conf.Priority))},
		[2]string{"Created", w.when(conf.Created)}, [2]string{"Updated", w.when(conf.Updated)}, [2]string{"ETag", conf.ETag})
	if len(conf.Labels) > 0 {
		var rows [][]cell
		for _, k := range sortedNames(conf.Labels) {
			rows = append(rows, cells(k, conf.Labels[k]))
		}
		w.printf("\n")
		w.table([]string{"LABEL", "VALUE"}, rows)
	}
	var content any
	if json.Unmarshal(conf.Content, &content) == nil {
		b, _ := json.MarshalIndent(content, "", "  ") // it came from JSON
		w.printf("\nContent:\n%s\n", harmlessLines(string(b)))
	}
	if m := conf.Metrics; m != nil && len(m.Queries) > 0 {
		var rows [][]cell
		for _, k := range sortedNames(m.Queries) {
			rows = append(rows, cells(k, m.Queries[k]))
		}
		w.printf("\n")
		w.table([]string{"METRIC", "QUERY"}, rows)
	}
	w.printf("\n")
	w.printMetrics(conf)
}

// printMetrics draws what the hub counted.
func (w *world) printMetrics(conf hubclient.Configuration) {
	var list []bar
	for _, m := range []*hubclient.Metrics{conf.SystemMetrics, conf.Metrics} {
		if m == nil {
			continue
		}
		for _, k := range sortedNames(m.Results) {
			list = append(list, bar{k, float64(m.Results[k]), itoa(m.Results[k])})
		}
	}
	if len(list) == 0 {
		w.note("nothing was counted yet")
		return
	}
	_ = w.bars(list, nil) // which is the only error it has
}

func newConfigurationMetrics(w *world, n *noun[*hubclient.Client, hubclient.Configuration]) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "metrics CONFIGURATION", Short: "Show whom a configuration is for, who has it, and what its own metrics count", Args: cobra.ExactArgs(1),
		Long: `Show what the hub counts of a configuration: how many it is for (targetedCount), how many twins it was written into (appliedCount), of edge deployments how many
devices report success or failure, and the results of its own queries.`,
		Example: "  isthmus hub configuration metrics line-7",
	}
	a := toHub(w, c)
	out.addTo(c, "bars", outJSON, outYAML)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		conf, err := hub.Configuration(c.Context(), args[0])
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, struct {
				System *hubclient.Metrics `json:"systemMetrics"`
				Own    *hubclient.Metrics `json:"metrics"`
			}{conf.SystemMetrics, conf.Metrics})
		}
		w.printMetrics(conf)
		return nil
	})
	return c
}
