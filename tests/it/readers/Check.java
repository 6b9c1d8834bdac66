import java.io.FileInputStream;
import java.io.InputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

/** Reads every entry of an archive, by its directory and as a stream; both check each CRC. */
class Check {
    public static void main(String[] arguments) throws Exception {
        int entries = 0;
        long bytes = 0;
        try (ZipFile archive = new ZipFile(arguments[0])) {
            for (var all = archive.entries(); all.hasMoreElements(); entries++) {
                ZipEntry entry = all.nextElement();
                try (InputStream contents = archive.getInputStream(entry)) {
                    long read = contents.transferTo(java.io.OutputStream.nullOutputStream());
                    if (read != entry.getSize()) throw new IllegalStateException(entry.getName());
                    bytes += read;
                }
            }
        }
        int streamed = 0;
        try (ZipInputStream archive = new ZipInputStream(new FileInputStream(arguments[0]))) {
            while (archive.getNextEntry() != null) {
                bytes -= archive.transferTo(java.io.OutputStream.nullOutputStream());
                streamed++;
            }
        }
        if (streamed != entries || bytes != 0) throw new IllegalStateException("the stream differs");
        System.out.println(entries + " entries");
    }
}
