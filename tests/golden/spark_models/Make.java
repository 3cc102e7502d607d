import java.util.ArrayList;
import java.util.List;
import org.apache.spark.ml.Model;
import org.apache.spark.ml.Pipeline;
import org.apache.spark.ml.PipelineStage;
import org.apache.spark.ml.Transformer;
import org.apache.spark.ml.classification.LogisticRegression;
import org.apache.spark.ml.classification.MultilayerPerceptronClassifier;
import org.apache.spark.ml.clustering.KMeans;
import org.apache.spark.ml.feature.StandardScaler;
import org.apache.spark.ml.feature.VectorAssembler;
import org.apache.spark.ml.linalg.Vector;
import org.apache.spark.ml.util.MLWritable;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/** The models of make.py that Spark 2.4 is asked for: make_2_4.sh runs it with the folder beside this file. */
public class Make {
    static List<String> said = new ArrayList<>();

    static VectorAssembler assembler(String... columns) {
        return new VectorAssembler().setInputCols(columns).setOutputCol("features");
    }

    static void save(String folder, String name, Model<?> model, Dataset<Row> rows) throws java.io.IOException {
        ((MLWritable) model).write().overwrite().save(folder + "/" + name);
        List<String> classes = new ArrayList<>(), probabilities = new ArrayList<>();
        for (Row row : ((Transformer) model).transform(rows).collectAsList()) {
            Number found = row.getAs("prediction");
            classes.add(String.valueOf(found.doubleValue()));
            if (!name.equals("kmeans")) {
                List<String> numbers = new ArrayList<>();
                for (double value : ((Vector) row.getAs("probability")).toArray()) numbers.add(String.format("%.9g", value));
                probabilities.add("[" + String.join(",", numbers) + "]");
            }
        }
        String more = probabilities.isEmpty() ? "" : ",\"probability\":[" + String.join(",", probabilities) + "]";
        said.add("\"" + name + "\":{\"prediction\":[" + String.join(",", classes) + "]" + more + "}");
    }

    public static void main(String[] arguments) throws java.io.IOException {
        SparkSession spark = SparkSession.builder().master("local[1]").config("spark.ui.enabled", "false").getOrCreate();
        String folder = arguments[0] + "/spark-2.4";
        Dataset<Row> rows = spark.read().option("header", "true").option("inferSchema", "true").csv(arguments[0] + "/rows.csv").coalesce(1).cache();
        Dataset<Row> ready = assembler("a", "b", "c", "d").transform(rows);
        ready = assembler("a", "c", "d").setOutputCol("small").transform(ready).cache();
        MultilayerPerceptronClassifier mlp = new MultilayerPerceptronClassifier().setSeed(1).setMaxIter(15);
        save(folder, "mlp", mlp.setLayers(new int[] {3, 5, 3}).setFeaturesCol("small").fit(ready), ready);
        save(folder, "kmeans", new KMeans().setK(3).setSeed(1).fit(ready), ready);
        save(folder, "logistic", new LogisticRegression().setLabelCol("two").setRegParam(0.05).fit(ready), ready);
        PipelineStage[] stages = {assembler("a", "b", "c", "d", "e"),
            new StandardScaler().setWithMean(true).setInputCol("features").setOutputCol("scaled"),
            mlp.setLayers(new int[] {5, 4, 3}).setFeaturesCol("scaled")};
        save(folder, "pipeline_mlp", new Pipeline().setStages(stages).fit(rows), rows);
        String text = "{\"spark\":\"" + spark.version() + "\",\"models\":{" + String.join(",\n", said) + "}}\n";
        java.nio.file.Files.write(java.nio.file.Paths.get(folder, "expected.json"), text.getBytes("UTF-8"));
        spark.stop();
    }
}
