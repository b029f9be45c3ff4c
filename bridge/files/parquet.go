package files

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/snappy"

	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// rowGroup is how many bytes of rows one group of a Parquet file is made of: so much is in memory.
const rowGroup = 16 << 20

// schema makes optional columns in the order they are listed in.
func schema(columns []resource.Column) *parquet.Schema {
	fields := make([]reflect.StructField, len(columns))
	for i, c := range columns {
		tag := c.Name + ",optional"
		var t reflect.Type
		switch c.Type {
		case resource.ColumnInteger:
			t = reflect.TypeFor[int64]()
		case resource.ColumnNumber:
			t = reflect.TypeFor[float64]()
		case resource.ColumnBoolean:
			t = reflect.TypeFor[bool]()
		case resource.ColumnTime:
			t, tag = reflect.TypeFor[int64](), tag+",timestamp(microsecond)"
		default:
			t = reflect.TypeFor[string]()
		}
		fields[i] = reflect.StructField{Name: "F" + strconv.Itoa(i), Type: t, Tag: reflect.StructTag(fmt.Sprintf("parquet:%q", tag))}
	}
	return parquet.NewSchema("event", parquet.SchemaOf(reflect.New(reflect.StructOf(fields)).Interface()))
}

// writeParquet makes a file of rows that wait.
func writeParquet(w io.Writer, s *parquet.Schema, columns []resource.Column, rows io.Reader) error {
	out := parquet.NewWriter(w, s, parquet.Compression(&snappy.Codec{}), parquet.CreatedBy("isthmus", "", ""))
	in := bufio.NewReaderSize(rows, 64<<10)
	row, held := make(parquet.Row, len(columns)), 0
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		line := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(in, line); err != nil {
			return err
		}
		rest := string(line)
		for i := range columns {
			v, after, err := column.ReadKey(rest)
			if err != nil {
				return err
			}
			rest = after
			if row[i], err = parquetValue(v, columns[i].Type); err != nil {
				return err
			}
			level := 1
			if v.Kind == column.Null {
				level = 0
			}
			row[i] = row[i].Level(0, level, i)
		}
		if _, err := out.WriteRows([]parquet.Row{row}); err != nil {
			return err
		}
		if held += len(line); held > rowGroup {
			held = 0
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	return out.Close()
}

func parquetValue(v column.Value, t resource.ColumnType) (parquet.Value, error) {
	switch {
	case v.Kind == column.Null:
		return parquet.NullValue(), nil
	case t == resource.ColumnNumber:
		f, _ := v.Float64()
		return parquet.DoubleValue(f), nil
	}
	switch v.Kind { //nolint:exhaustive // the others are in no column
	case column.Int:
		return parquet.Int64Value(int64(v.Bits)), nil
	case column.Bool:
		return parquet.BooleanValue(v.Bits != 0), nil
	case column.Time:
		return parquet.Int64Value(v.Time().UnixMicro()), nil
	case column.Text:
		return parquet.ByteArrayValue([]byte(v.Text)), nil
	}
	return parquet.Value{}, fault.Newf("files.Flush", fault.Internal, "a value of kind %d in a column", v.Kind)
}
