package millrace.bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.io.SerializedString;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Reads the features out of a JSON object with Jackson's streaming parser: no tree, no strings. */
final class RowReader {
    private final JsonFactory factory = JsonFactory.builder().enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER).build();
    private final SerializedString[] expected;
    private final Map<String, Integer> column = new HashMap<>();
    private final float[] row;

    private RowReader(List<String> features) {
        expected = features.stream().map(SerializedString::new).toArray(SerializedString[]::new);
        for (String name : features) {
            column.put(name, column.size());
        }
        row = new float[features.size()];
    }

    /** The file's "features" is an array of names. */
    static RowReader open(Path file) throws IOException {
        List<String> features = new ArrayList<>();
        try (JsonParser parser = new JsonFactory().createParser(file.toFile())) {
            while (parser.nextToken() != null && features.isEmpty()) {
                if (parser.currentToken() == JsonToken.START_ARRAY && "features".equals(parser.currentName())) {
                    while (parser.nextToken() == JsonToken.VALUE_STRING) {
                        features.add(parser.getText());
                    }
                }
            }
        }
        return new RowReader(features);
    }

    int width() {
        return row.length;
    }

    /** Appends the features of one record; a record that lacks one, or has one twice, is an error. */
    void read(byte[] json, FloatBuffer out) throws IOException {
        try (JsonParser parser = factory.createParser(json)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw new IOException("not an object");
            }
            int found = 0;
            while (true) {
                int at = next(parser, found);
                if (at == END) {
                    break;
                }
                if (at == UNKNOWN) {
                    parser.nextToken();
                    parser.skipChildren();
                    continue;
                }
                parser.nextToken();
                row[at] = parser.getFloatValue();
                found++;
            }
            if (found != row.length) {
                throw new IOException("expected " + row.length + " features, found " + found);
            }
            out.put(row);
        }
    }

    private static final int END = -1;
    private static final int UNKNOWN = -2;

    /** Column of the next field. Most records have their fields in the order of the model: that one is compared first. */
    private int next(JsonParser parser, int found) throws IOException {
        if (found < expected.length) {
            if (parser.nextFieldName(expected[found])) {
                return found;
            }
        } else {
            parser.nextToken();
        }
        if (parser.currentToken() != JsonToken.FIELD_NAME) {
            return END;
        }
        return column.getOrDefault(parser.currentName(), UNKNOWN);
    }
}
