package azureblob_test

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"reflect"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

func id(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestBlockLists(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []azureblob.Block
	}{
		"as @azure/storage-blob writes it": {
			`<?xml version="1.0" encoding="UTF-8" standalone="yes"?><BlockList><Latest>` + id("a-000") + `</Latest><Latest>` + id("a-001") + `</Latest></BlockList>`,
			[]azureblob.Block{{azureblob.Latest, "a-000"}, {azureblob.Latest, "a-001"}},
		},
		"with white space, comments and every kind": {
			"\ufeff<?xml version=\"1.0\"?>\n<BlockList>\n <!-- x -->\n <Uncommitted>\n" + id("u") + "\n</Uncommitted><Committed>" + id("c") + "</Committed>\n</BlockList>\n",
			[]azureblob.Block{{azureblob.Uncommitted, "u"}, {azureblob.Committed, "c"}},
		},
		"empty": {`<BlockList/>`, []azureblob.Block{}},
	} {
		text := strings.TrimPrefix(c.text, "\ufeff")
		if got, err := azureblob.ParseBlockList(strings.NewReader(text)); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "no XML": "{}", "not closed": "<BlockList><Latest>QQ==</Latest>", "two": "<BlockList/><BlockList/>", "another root": "<List/>",
		"an unknown kind": "<BlockList><Newest>QQ==</Newest></BlockList>", "nested": "<BlockList><Latest><Latest>QQ==</Latest></Latest></BlockList>",
		"no base64": "<BlockList><Latest>!</Latest></BlockList>", "an empty id": "<BlockList><Latest></Latest></BlockList>", "text between": "<BlockList>x</BlockList>",
		"text after": "<BlockList/>x", "a long id": "<BlockList><Latest>" + id(strings.Repeat("x", 65)) + "</Latest></BlockList>",
		"a very long id": "<BlockList><Latest>" + strings.Repeat("A", 100_000) + "</Latest></BlockList>", "an entity": `<!DOCTYPE x [<!ENTITY a "QQ==">]><BlockList><Latest>&a;</Latest></BlockList>`,
	} {
		if _, err := azureblob.ParseBlockList(strings.NewReader(text)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	one := "<Latest>QQ==</Latest>"
	for name, text := range map[string]string{
		"too many blocks": "<BlockList>" + strings.Repeat(one, azureblob.MaxBlocks+1) + "</BlockList>",
		"too many bytes":  "<BlockList>" + strings.Repeat(" ", azureblob.MaxBlockList) + "</BlockList>",
	} {
		if _, err := azureblob.ParseBlockList(strings.NewReader(text)); fault.KindOf(err) != fault.TooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := azureblob.ParseBlockList(strings.NewReader("<BlockList>" + strings.Repeat(one, azureblob.MaxBlocks) + "</BlockList>")); err != nil || len(got) != azureblob.MaxBlocks {
		t.Errorf("as many as may be: %d, %v", len(got), err)
	}
}

func TestAnswers(t *testing.T) {
	var list struct {
		Committed   []string `xml:"CommittedBlocks>Block>Name"`
		Uncommitted []struct {
			Name string
			Size int64
		} `xml:"UncommittedBlocks>Block"`
	}
	b := azureblob.RenderBlockList(nil, []azureblob.Listed{{ID: "a<", Size: 5 << 32}})
	if err := xml.Unmarshal(b, &list); err != nil || len(list.Committed) != 0 || len(list.Uncommitted) != 1 || list.Uncommitted[0].Name != id("a<") || list.Uncommitted[0].Size != 5<<32 {
		t.Errorf("%s: %+v, %v", b, list, err)
	}
	var e azureblob.Error
	b = azureblob.RenderError("BlobNotFound", "no <blob> \x00\xff & so on")
	if err := xml.Unmarshal(b, &e); err != nil || e.Code != "BlobNotFound" || !strings.HasPrefix(e.Message, "no <blob> ") {
		t.Errorf("%s: %+v, %v", b, e, err)
	}
}

func FuzzBlockList(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?><BlockList><Latest>` + id("a-000") + `</Latest><Committed>` + id("b") + `</Committed></BlockList>`))
	f.Add([]byte("<BlockList><Uncommitted>QQ==</Uncommitted></BlockList>"))
	f.Add([]byte(`<!DOCTYPE x><BlockList><![CDATA[ ]]></BlockList>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := azureblob.ParseBlockList(bytes.NewReader(text))
		if err != nil {
			return
		}
		var again bytes.Buffer
		again.WriteString("<BlockList>")
		for _, b := range list {
			if len(b.ID) == 0 || len(b.ID) > azureblob.MaxBlockID {
				t.Fatalf("an id of %d bytes", len(b.ID))
			}
			again.WriteString("<" + b.From + ">" + id(b.ID) + "</" + b.From + ">")
		}
		again.WriteString("</BlockList>")
		if got, err := azureblob.ParseBlockList(&again); err != nil || !reflect.DeepEqual(got, list) {
			t.Fatalf("%q\nwas read as %v\nand again as %v, %v", text, list, got, err)
		}
	})
}
