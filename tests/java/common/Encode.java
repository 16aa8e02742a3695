// Writes a profile to a file with java.beans.XMLEncoder, as whoever has beans would: one of several
// by name, or what a JDK decodes of another file.
import java.beans.XMLDecoder;
import java.beans.XMLEncoder;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.lang.reflect.Array;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

public class Encode {
    public static void main(String[] words) throws Exception {
        try (var out = new XMLEncoder(new BufferedOutputStream(new FileOutputStream(words[1])))) {
            out.setExceptionListener(why -> { throw new IllegalStateException(why); });
            out.writeObject(made(words[0]));
        }
    }

    private static Profile made(String what) throws Exception {
        Profile profile = new Profile();
        switch (what) {
            case "nothing" -> { }
            case "paper" -> fill(profile, new Object[] {block(1024, 24), block(2048, 10)},
                                 new Object[] {call("fopen"), call("fclose")});
            case "shared" -> {
                MemoryAllocation same = block(64, 3);
                fill(profile, new Object[] {same, same}, new Object[] {call("a<b&\u00e9"), call("\u0001\r")});
            }
            case "zero" -> set(profile, "setMemoryAllocations", new Object[] {block(16, 0), block(0, 0)});
            case "nulls" -> {
                set(profile, "setMemoryAllocations", null);
                set(profile, "setSystemCalls", null);
            }
            default -> profile = decoded(what);
        }
        return profile;
    }

    private static Profile decoded(String path) throws Exception {
        try (var in = new XMLDecoder(new BufferedInputStream(new FileInputStream(path)))) {
            return (Profile) in.readObject();
        }
    }

    private static void fill(Profile profile, Object[] blocks, Object[] calls) throws Exception {
        profile.setNumberOfProcesses(50);
        profile.setNumberOfSockets(100);
        set(profile, "setMemoryAllocations", blocks);
        set(profile, "setSystemCalls", calls);
    }

    // As an array or a list, as the bean at hand wants it.
    private static void set(Profile profile, String setter, Object[] members) throws Exception {
        for (Method method : Profile.class.getMethods()) {
            if (method.getName().equals(setter)) {
                Class<?> type = method.getParameterTypes()[0];
                Object value = null;
                if (members != null && type == List.class) {
                    value = new ArrayList<>(Arrays.asList(members));
                } else if (members != null) {
                    value = Array.newInstance(type.getComponentType(), members.length);
                    System.arraycopy(members, 0, value, 0, members.length);
                }
                method.invoke(profile, new Object[] {value});
            }
        }
    }

    private static MemoryAllocation block(int size, int number) {
        MemoryAllocation made = new MemoryAllocation();
        made.setBlockSize(size);
        made.setNumberOfBlocks(number);
        return made;
    }

    private static SystemCall call(String name) {
        SystemCall made = new SystemCall();
        made.setCallName(name);
        return made;
    }
}
