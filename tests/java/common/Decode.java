// Decodes a document with java.beans.XMLDecoder; prints what it gives, and what it reports on the way.
import java.beans.XMLDecoder;
import java.io.BufferedInputStream;
import java.io.FileInputStream;
import java.lang.reflect.Array;
import java.util.Collection;

public class Decode {
    public static void main(String[] words) throws Exception {
        var in = new BufferedInputStream(new FileInputStream(words[0]));
        try (var decoder = new XMLDecoder(in, null, Decode::report)) {
            Profile profile = (Profile) decoder.readObject();
            System.out.println("processes " + profile.getNumberOfProcesses());
            System.out.println("sockets " + profile.getNumberOfSockets());
            for (Object found : members(profile.getMemoryAllocations())) {
                MemoryAllocation row = (MemoryAllocation) found;
                System.out.println("blocks " + row.getBlockSize() + " " + row.getNumberOfBlocks());
            }
            for (Object found : members(profile.getSystemCalls())) {
                System.out.println("call " + ((SystemCall) found).getCallName());
            }
        }
    }

    private static void report(Exception why) {
        System.out.println("report " + why.toString().replace('\n', ' '));
    }

    private static Object[] members(Object list) {
        if (list instanceof Collection<?> collection) {
            return collection.toArray();
        }
        Object[] found = new Object[list == null ? 0 : Array.getLength(list)];
        for (int index = 0; index < found.length; index++) {
            found[index] = Array.get(list, index);
        }
        return found;
    }
}
